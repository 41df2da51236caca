%%% Cancelled contacts in ejabberd's SQL database: the table s2s_partners_cancelled, made where it is missing. Queries are plain
%%% text, since what ejabberd's compiler of queries gives out fits one version of ejabberd only. Called inside a transaction of the
%%% roster's they become part of it.
-module(s2s_partners_cancellations_sql).

-export([init/1, find/3, contacts/2, write/4, delete/3, remove_user/2]).

-define(TABLE, "s2s_partners_cancelled").

-spec init(binary()) -> ok | {error, term()}.
init(Host) ->
    Type = ejabberd_option:sql_type(Host),
    case knows_what_is_there(Type) orelse ejabberd_sql:sql_query(Host, "select jid from " ?TABLE " where username='' and server_host=''") of
        {selected, _, _} -> ok;
        _ -> create(Host, tables(Type))
    end.

create(Host, Queries) ->
    lists:foldl(fun(Query, ok) ->
                        case ejabberd_sql:sql_query(Host, Query) of
                            {updated, _} -> ok;
                            ok -> ok;
                            Other -> {error, Other}
                        end;
                   (_, Error) ->
                        Error
                end, ok, Queries).

%% Whether "if not exists" can be said; else a look at a table that is not there is an error in ejabberd's log, once.
knows_what_is_there(Type) ->
    lists:member(Type, [sqlite, pgsql, mysql]).

tables(mysql) ->
    ["create table if not exists " ?TABLE " (username varchar(191) not null, server_host varchar(191) not null, jid text not null,"
     " created_at bigint not null, key i_" ?TABLE " (server_host, username)) character set utf8mb4"];
tables(Type) when Type =:= sqlite; Type =:= pgsql ->
    ["create table if not exists " ?TABLE " (username text not null, server_host text not null, jid text not null,"
     " created_at bigint not null)",
     "create index if not exists i_" ?TABLE " on " ?TABLE " (server_host, username)"];
tables(_) ->
    ["create table " ?TABLE " (username varchar(250) not null, server_host varchar(250) not null, jid varchar(3100) not null,"
     " created_at bigint not null)",
     "create index i_" ?TABLE " on " ?TABLE " (server_host, username)"].

-spec find(binary(), binary(), binary()) -> {ok, boolean()} | {error, term()}.
find(LUser, LServer, Contact) ->
    case ejabberd_sql:sql_query(LServer, ["select jid from " ?TABLE | of_contact(LUser, LServer, Contact)]) of
        {selected, _, Rows} -> {ok, Rows =/= []};
        Error -> {error, Error}
    end.

-spec contacts(binary(), binary()) -> {ok, [binary()]} | {error, term()}.
contacts(LUser, LServer) ->
    case ejabberd_sql:sql_query(LServer, ["select jid from " ?TABLE | of_user(LUser, LServer)]) of
        {selected, _, Rows} -> {ok, [iolist_to_binary(Contact) || [Contact] <- Rows]};
        Error -> {error, Error}
    end.

-spec write(binary(), binary(), binary(), integer()) -> ok | {error, term()}.
write(LUser, LServer, Contact, Seconds) ->
    changed(LServer, [["delete from " ?TABLE | of_contact(LUser, LServer, Contact)],
                      ["insert into " ?TABLE " (username, server_host, jid, created_at) values (", text(LServer, LUser), ", ",
                       text(LServer, LServer), ", ", text(LServer, Contact), ", ", integer_to_list(Seconds), ")"]]).

-spec delete(binary(), binary(), binary()) -> ok | {error, term()}.
delete(LUser, LServer, Contact) ->
    changed(LServer, [["delete from " ?TABLE | of_contact(LUser, LServer, Contact)]]).

-spec remove_user(binary(), binary()) -> ok | {error, term()}.
remove_user(LUser, LServer) ->
    changed(LServer, [["delete from " ?TABLE | of_user(LUser, LServer)]]).

changed(Host, Queries) ->
    Fun = fun() ->
                  lists:foreach(fun(Query) -> {updated, _} = ejabberd_sql:sql_query_t(Query) end, Queries)
          end,
    case ejabberd_sql:sql_transaction(Host, Fun) of
        {atomic, ok} -> ok;
        Other -> {error, Other}
    end.

of_user(LUser, LServer) ->
    [" where username=", text(LServer, LUser), " and server_host=", text(LServer, LServer)].

of_contact(LUser, LServer, Contact) ->
    [of_user(LUser, LServer), " and jid=", text(LServer, Contact)].

%% A literal, by the rules of the database.
text(Host, Text) ->
    ejabberd_sql:to_string_literal(ejabberd_option:sql_type(Host), Text).
