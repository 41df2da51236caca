%%% Text for people: tables that line up and lines that fit, as the console of the other host prints them. Plain text, no colour.
%%% Every function returns lines, binaries of UTF-8; what other servers sent goes through plain/2 first.
-module(s2s_partners_layout).

-export([wrap/2, paragraph/2, table/3, text/1]).
-export([count/2, count/3, date/1, expiry/2, duration/1, plain/1, plain/2]).
-export([method/1, methods/1, negotiation/1, join/2]).

-export_type([line/0, column/0, note/0]).

-type line() :: binary().
%% Columns give way down to their `min`; `right`: numbers.
-type column() :: #{title := binary(), min => pos_integer(), right => boolean()}.
-type note() :: {First :: binary(), Text :: binary()}.

-define(WIDTH, 80).
-define(GAP, <<"  ">>).

%% Lines of at most Width characters; words that are longer are cut.
-spec wrap(unicode:chardata(), pos_integer()) -> [line()].
wrap(Text, Width) ->
    Words = string:lexemes(plain(Text), " \n"),
    wrap(Words, Width, <<>>, []).

wrap([], _, <<>>, []) ->
    [<<>>];
wrap([], _, <<>>, Lines) ->
    lists:reverse(Lines);
wrap([], _, Line, Lines) ->
    lists:reverse(Lines, [Line]);
wrap([Word | Words], Width, Line, Lines) ->
    Length = string:length(Word),
    Before = string:length(Line),
    if
        Line =/= <<>>, Before + 1 + Length > Width ->
            wrap([Word | Words], Width, <<>>, [Line | Lines]);
        Length > Width ->
            {Head, Rest} = cut(Word, Width),
            wrap([Rest | Words], Width, <<>>, [Head | Lines]);
        Line =:= <<>> ->
            wrap(Words, Width, Word, Lines);
        true ->
            wrap(Words, Width, <<Line/binary, " ", Word/binary>>, Lines)
    end.

%% The first Width characters of a word, ended behind a mark that may end a line where there is one not too early; and the rest.
cut(Word, Width) ->
    Head = string:slice(Word, 0, Width),
    Size = case re:run(Head, <<"^.+[/.,@-]">>, [{capture, first, index}]) of
               {match, [{0, Marked}]} when Marked * 3 >= byte_size(Head) -> Marked;
               _ -> byte_size(Head)
           end,
    <<First:Size/binary, Rest/binary>> = Word,
    {First, Rest}.

%% Text behind First; what does not fit follows below, as far in as First is long.
-spec paragraph(unicode:chardata(), unicode:chardata()) -> [line()].
paragraph(First, Text) ->
    Begin = unicode:characters_to_binary(First),
    In = string:length(Begin),
    Indent = binary:copy(<<" ">>, In),
    [Line | Lines] = wrap(Text, max(20, ?WIDTH - In)),
    [trim(<<Begin/binary, Line/binary>>) | [trim(<<Indent/binary, Each/binary>>) || Each <- Lines]].

%% Rows are lists of cells; Notes has for each row what stands below it, or is [].
-spec table([column()], [[unicode:chardata()]], [[note()]]) -> [line()].
table(Columns, Rows, Notes) ->
    Cells = [[plain(Cell) || Cell <- Row] || Row <- Rows],
    Widths = widths(Columns, Cells),
    Titles = row(Columns, Widths, [Title || #{title := Title} <- Columns]),
    Rule = iolist_to_binary(lists:join(?GAP, [binary:copy(<<"-">>, Width) || Width <- Widths])),
    Titles ++ [Rule | body(Columns, Widths, Cells, Notes)].

body(_, _, [], _) ->
    [];
body(Columns, Widths, [Row | Rows], []) ->
    row(Columns, Widths, Row) ++ body(Columns, Widths, Rows, []);
body(Columns, Widths, [Row | Rows], [Below | Notes]) ->
    row(Columns, Widths, Row) ++ lists:append([paragraph(First, Text) || {First, Text} <- Below])
        ++ body(Columns, Widths, Rows, Notes).

row(Columns, Widths, Row) ->
    Wrapped = [wrap(Cell, Width) || {Cell, Width} <- lists:zip(Row, Widths)],
    Height = lists:max([length(Lines) || Lines <- Wrapped]),
    [trim(iolist_to_binary(lists:join(?GAP, [pad(nth(Number, Lines), Width, Column)
                                             || {Lines, Width, Column} <- lists:zip3(Wrapped, Widths, Columns)])))
     || Number <- lists:seq(1, Height)].

nth(Number, Lines) when Number =< length(Lines) -> lists:nth(Number, Lines);
nth(_, _) -> <<>>.

pad(Text, Width, Column) ->
    Space = binary:copy(<<" ">>, max(0, Width - string:length(Text))),
    case Column of
        #{right := true} -> <<Space/binary, Text/binary>>;
        _ -> <<Text/binary, Space/binary>>
    end.

%% So that a line fits: the widest give way first.
widths(Columns, Rows) ->
    Titles = [string:length(Title) || #{title := Title} <- Columns],
    Widths = lists:foldl(fun(Row, Sofar) ->
                             lists:zipwith(fun(Cell, Width) -> max(string:length(Cell), Width) end, Row, Sofar)
                         end, Titles, Rows),
    Least = lists:zipwith(fun(Column, Title) -> max(maps:get(min, Column, 8), Title) end, Columns, Titles),
    narrow(Widths, Least, lists:sum(Widths) + (length(Widths) - 1) * byte_size(?GAP)).

narrow(Widths, _, Sum) when Sum =< ?WIDTH ->
    Widths;
narrow(Widths, Least, Sum) ->
    case lists:max([0 | [Width || {Width, Min} <- lists:zip(Widths, Least), Width > Min]]) of
        0 -> Widths;
        Widest -> narrow(narrow_first(Widest, Widths, Least), Least, Sum - 1)
    end.

narrow_first(Widest, [Widest | Widths], [Min | _]) when Widest > Min -> [Widest - 1 | Widths];
narrow_first(Widest, [Width | Widths], [_ | Least]) -> [Width | narrow_first(Widest, Widths, Least)].

trim(Line) ->
    string:trim(Line, trailing, " ").

-spec text([line()]) -> binary().
text(Lines) ->
    iolist_to_binary(lists:join($\n, Lines)).

%% <<"1 partner">>, <<"2 partners">>
-spec count(non_neg_integer(), binary()) -> binary().
count(Number, Noun) ->
    count(Number, Noun, <<Noun/binary, "s">>).

-spec count(non_neg_integer(), binary(), binary()) -> binary().
count(1, Noun, _) -> <<"1 ", Noun/binary>>;
count(Number, _, Plural) -> <<(integer_to_binary(Number))/binary, " ", Plural/binary>>.

%% Of seconds since the epoch: <<"2027-03-01 12:00 UTC">>.
-spec date(integer()) -> binary().
date(Time) ->
    {{Year, Month, Day}, {Hour, Minute, _}} = calendar:system_time_to_universal_time(Time, second),
    iolist_to_binary(io_lib:format("~4..0b-~2..0b-~2..0b ~2..0b:~2..0b UTC", [Year, Month, Day, Hour, Minute])).

%% <<"2027-03-01 12:00 UTC, in 101 days">>
-spec expiry(integer(), integer()) -> binary().
expiry(Time, Now) ->
    Days = (Time - Now) / 86400,
    Format = if Days < 0 -> "~ts, ~b days ago"; true -> "~ts, in ~b days" end,
    iolist_to_binary(io_lib:format(Format, [date(Time), abs(round(Days))])).

%% Of microseconds, as people time things: <<"0.4 ms">>, <<"83 ms">>, <<"2.31 s">>.
-spec duration(non_neg_integer()) -> binary().
duration(Time) when Time < 10000 -> iolist_to_binary(io_lib:format("~.1f ms", [Time / 1000]));
duration(Time) when Time < 1000000 -> iolist_to_binary(io_lib:format("~b ms", [Time div 1000]));
duration(Time) -> iolist_to_binary(io_lib:format("~.2f s", [Time / 1000000])).

%% Text from outside in one printable line. What is not UTF-8 is shown byte by byte, as question marks.
-spec plain(unicode:chardata()) -> binary().
plain(Text) ->
    Good = case unicode:characters_to_binary(Text) of
               Binary when is_binary(Binary) -> Binary;
               _ -> << <<(if Byte < 128 -> Byte; true -> $? end)>> || <<Byte>> <= iolist_to_binary(Text) >>
           end,
    << <<(if Character < 32; Character >= 127, Character < 160 -> $\s; true -> Character end)/utf8>>
       || <<Character/utf8>> <= Good >>.

-spec plain(unicode:chardata(), pos_integer()) -> binary().
plain(Text, Limit) ->
    Plain = plain(Text),
    case string:length(Plain) > Limit of
        true -> <<(string:slice(Plain, 0, Limit - 3))/binary, "...">>;
        false -> Plain
    end.

-spec method(s2s_partners_nif:method() | none) -> binary().
method(sasl) -> <<"SASL">>;
method(tls_dialback) -> <<"TLS dialback">>;
method(tcp_dialback) -> <<"TCP dialback">>;
method(none) -> <<"none">>.

-spec methods([s2s_partners_nif:method()]) -> binary().
methods([]) -> <<"none">>;
methods(Methods) -> join(<<", ">>, [method(Method) || Method <- Methods]).

%% <<"required/required/no">>
-spec negotiation(s2s_partners_nif:partner()) -> binary().
negotiation(#{tls := Tls, sasl := Sasl, dialback := Dialback}) ->
    iolist_to_binary([atom_to_binary(Tls), "/", atom_to_binary(Sasl), "/", if Dialback -> "yes"; true -> "no" end]).

-spec join(binary(), [unicode:chardata()]) -> binary().
join(Between, Texts) ->
    unicode:characters_to_binary(lists:join(Between, Texts)).
