%% Opens a port to echo.py: escript demos/erlang/echo.erl
-module(echo).
-export([main/1]).

main(_) ->
    Python = os:find_executable(os:getenv("PYTHON", "python3")),
    Script = filename:join(filename:dirname(escript:script_name()), "echo.py"),
    Port = open_port({spawn_executable, Python}, [{args, [Script]}, {packet, 4}, binary]),
    ask(Port, {hello, "Erlang"}),
    io:format("~ts~n", [answer(Port)]),
    ask(Port, {count, 3}),
    io:format("~p~n", [[answer(Port) || _ <- lists:seq(1, 3)]]),
    ask(Port, {hello}),
    io:format("~p~n", [answer(Port)]),
    port_close(Port).

ask(Port, Term) -> port_command(Port, term_to_binary(Term)).

answer(Port) -> receive {Port, {data, Binary}} -> binary_to_term(Binary) end.
