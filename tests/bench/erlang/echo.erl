%% Measures a program that answers {echo, Term} with Term, or echoes whole frames.
-module(echo).
-export([main/1]).

%% Prints microseconds for a call: one at a time, then pipelined.
main([Option, Packet, Calls, Shape, Program | Arguments]) ->
    Port = open_port({spawn_executable, Program},
                     [{args, Arguments}, binary, {packet, list_to_integer(Packet)},
                      list_to_atom(Option)]),
    Count = list_to_integer(Calls),
    Data = data(Shape),
    one_at_a_time(Port, Data, 200),
    Single = timed(fun() -> one_at_a_time(Port, Data, Count) end) / Count,
    pipelined(Port, Data, 500),
    Many = Count * 5,
    Pipelined = timed(fun() -> pipelined(Port, Data, Many) end) / Many,
    io:format("~.3f ~.3f~n", [Single, Pipelined]),
    halt(0).

data("small") -> {echo, 1};
data("large") -> {echo, binary:copy(<<"x">>, 1 bsl 20)}.

timed(Fun) ->
    Start = erlang:monotonic_time(microsecond),
    Fun(),
    erlang:monotonic_time(microsecond) - Start.

one_at_a_time(_, _, 0) -> ok;
one_at_a_time(Port, Data, Count) ->
    port_command(Port, term_to_binary(Data, [{minor_version, 1}])),
    got(Port),
    one_at_a_time(Port, Data, Count - 1).

%% A process of its own sends, so that a full pipe does not hold up reading.
pipelined(Port, Data, Count) ->
    spawn_link(fun() ->
        [port_command(Port, term_to_binary(Data, [{minor_version, 1}])) || _ <- lists:seq(1, Count)]
    end),
    [got(Port) || _ <- lists:seq(1, Count)],
    ok.

got(Port) ->
    receive {Port, {data, Bin}} -> binary_to_term(Bin) after 60000 -> exit(timeout) end.
