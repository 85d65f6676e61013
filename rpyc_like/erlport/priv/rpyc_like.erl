%% Python from Erlang, and Erlang from Python. A process stands for one Python program, started by
%% it or reached over a socket; see docs/reference/erlang.md of rpyc_like. MIT license.
-module(rpyc_like).
-behaviour(gen_server).

-export([start/0, start/1, start_link/0, start_link/1, start_link/2, stop/1, child_spec/1]).
-export([call/4, call/5, cast/2]).
-export([hold/2, hold/4, hold/5, getattr/3, setattr/4, method/4, method/5, invoke/3, invoke/4,
         iterate/2, next/3, fold/4, item/3, length/2, text/2, type/2, release/2, release/3, held/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-type instance() :: gen_server:server_ref().
-type handle() :: {'$erlport.opaque', python, binary()}.
-type kwargs() :: #{atom() => term()} | [{atom(), term()}].
-type option() ::
    {name, atom()}                                        % registers the process
  | {python, string()}                                    % "python3", or $RPYC_LIKE_PYTHON
  | {python_path, string() | [string()]}                  % goes before $PYTHONPATH
  | {cd, string()} | {env, [{string(), string()}]}
  | {packet, 1 | 2 | 4} | use_stdio | nouse_stdio | {compressed, 0..9}
  | {threads, pos_integer()}                              % calls that Python serves at once
  | {none, atom()} | {text, list | binary} | {binaries, bytes | text}
  | {start_timeout, timeout()} | {call_timeout, timeout()}
  | {address, {inet:hostname() | inet:ip_address(), inet:port_number()}}
  | {socket, file:filename()}                             % a Unix socket
  | {tls, [ssl:tls_client_option()]}.                     % with address
-export_type([instance/0, handle/0, kwargs/0, option/0]).

-record(state, {
    transport :: {port, port()} | {gen_tcp | ssl, term()},
    options :: [option()],
    next = 1 :: pos_integer(),
    callers = #{} :: #{pos_integer() => {gen_server:from(), reference(), reference() | undefined}},
    monitors = #{} :: #{reference() => {caller, pos_integer()} | {task, pid(), term()}},
    tasks = #{} :: #{term() => pid()}
}).

-define(OBJECTS, '$rpyc_like').
-define(LARGEST, 16#3fffffff).

%% -- starting and stopping

start() -> start([]).

start(Options) -> started(start, Options).

start_link() -> start_link([]).

start_link(Options) -> started(start_link, Options).

start_link(Name, Options) -> start_link([{name, Name} | Options]).

started(Function, Options) ->
    case proplists:get_value(name, Options) of
        undefined -> gen_server:Function(?MODULE, Options, []);
        Name -> gen_server:Function({local, Name}, ?MODULE, Options, [])
    end.

-spec stop(instance()) -> ok.
stop(Instance) -> gen_server:stop(Instance).

%% For a supervisor, which starts the program again when it has ended.
child_spec(Options) ->
    #{id => proplists:get_value(name, Options, ?MODULE),
      start => {?MODULE, start_link, [Options]},
      restart => permanent, shutdown => 5000, type => worker, modules => [?MODULE]}.

%% -- calls

%% Calls a function. Options: {timeout, Ms | infinity}, {kwargs, #{Name => Value}}, async.
%% Raises error:{python, 'module.Class', Text, Stack}, error:timeout, or error:{port_closed, _}.
-spec call(instance(), atom(), atom(), [term()]) -> term().
call(Instance, Module, Function, Args) -> call(Instance, Module, Function, Args, []).

call(Instance, Module, Function, Args, Options)
  when is_atom(Module), is_atom(Function), is_list(Args), is_list(Options) ->
    All = Args ++ kwargs(proplists:get_value(kwargs, Options, #{})),
    Timeout = proplists:get_value(timeout, Options, default),
    Request = {call, Module, Function, All, Timeout},
    case proplists:get_bool(async, Options) of
        true -> spawn_link(fun() -> gen_server:call(Instance, Request, infinity) end), ok;
        false -> result(gen_server:call(Instance, Request, infinity))
    end.

kwargs(Empty) when Empty =:= #{}; Empty =:= [] -> [];
kwargs(Named) -> [{'$kwargs', Named}].

result({ok, Value}) -> Value;
result({error, Reason}) -> erlang:error(Reason).

%% Sends a message to Python's message handler.
-spec cast(instance(), term()) -> ok.
cast(Instance, Message) -> gen_server:cast(Instance, {message, Message}).

%% -- objects

%% Has Python keep a value, and returns its handle: that of a call, or of a value.
hold(Instance, Value) -> object(Instance, hold, [Value]).

hold(Instance, Module, Function, Args) -> hold(Instance, Module, Function, Args, #{}).

hold(Instance, Module, Function, Args, Kwargs) ->
    object(Instance, keep, [Module, Function, Args] ++ kwargs(Kwargs)).

getattr(Instance, Handle, Name) -> object(Instance, getattr, [Handle, Name]).

setattr(Instance, Handle, Name, Value) -> object(Instance, setattr, [Handle, Name, Value]).

method(Instance, Handle, Name, Args) -> method(Instance, Handle, Name, Args, #{}).

method(Instance, Handle, Name, Args, Kwargs) ->
    object(Instance, method, [Handle, Name, Args] ++ kwargs(Kwargs)).

invoke(Instance, Handle, Args) -> invoke(Instance, Handle, Args, #{}).

invoke(Instance, Handle, Args, Kwargs) ->
    object(Instance, call, [Handle, Args] ++ kwargs(Kwargs)).

iterate(Instance, Handle) -> object(Instance, iterate, [Handle]).

%% Returns up to so many further values of an iterator; none are left if there are fewer.
next(Instance, Iterator, Count) -> object(Instance, next, [Iterator, Count]).

%% Folds over what iterating over a handle gives, a hundred values at a time.
fold(Instance, Fun, Acc, Handle) ->
    Iterator = iterate(Instance, Handle),
    try fold_on(Instance, Fun, Acc, Iterator)
    after release(Instance, Iterator)
    end.

fold_on(Instance, Fun, Acc, Iterator) ->
    Values = next(Instance, Iterator, 100),
    case {lists:foldl(Fun, Acc, Values), erlang:length(Values)} of
        {More, 100} -> fold_on(Instance, Fun, More, Iterator);
        {Last, _} -> Last
    end.

item(Instance, Handle, Key) -> object(Instance, item, [Handle, Key]).

length(Instance, Handle) -> object(Instance, length, [Handle]).

text(Instance, Handle) -> object(Instance, text, [Handle]).

type(Instance, Handle) -> object(Instance, type, [Handle]).

%% Gives a handle back; returns how often it was received and not given back yet.
release(Instance, Handle) -> object(Instance, release, [Handle]).

release(Instance, Handle, Count) -> object(Instance, release, [Handle, Count]).

%% How many objects Python keeps for this process.
held(Instance) -> object(Instance, held, []).

object(Instance, Function, Args) -> call(Instance, ?OBJECTS, Function, Args).

%% -- the process

init(Options) ->
    process_flag(trap_exit, true),
    try connect(Options) of
        Transport ->
            State = #state{transport = Transport, options = Options},
            greet(State, proplists:get_value(start_timeout, Options, 10000))
    catch
        error:Reason -> {stop, Reason}
    end.

%% Waits until Python answers.
greet(State, Timeout) ->
    send({'C', 0, ?OBJECTS, held, []}, State),
    Deadline = deadline(Timeout),
    greeted(State, Deadline).

greeted(#state{transport = {_, Handle} = Transport} = State, Deadline) ->
    receive
        Info when is_tuple(Info), element(1, Info) =:= Handle;
                  is_tuple(Info), element(2, Info) =:= Handle ->
            case received(Transport, Info) of
                {data, Bin} ->
                    case catch binary_to_term(Bin) of
                        {r, 0, _} -> {ok, State};
                        {'P', Text} -> io:put_chars(Text), greeted(State, Deadline);
                        Other -> close(Transport), {stop, {invalid_protocol_message, Other}}
                    end;
                {closed, Reason} -> {stop, {port_closed, Reason}};
                other -> greeted(State, Deadline)
            end
    after left(Deadline) ->
        close(Transport),
        {stop, timeout}
    end.

deadline(infinity) -> infinity;
deadline(Timeout) -> erlang:monotonic_time(millisecond) + Timeout.

left(infinity) -> infinity;
left(Deadline) -> max(0, Deadline - erlang:monotonic_time(millisecond)).

handle_call({call, Module, Function, Args, Timeout}, {Caller, _} = From, State) ->
    #state{next = Id, callers = Callers, monitors = Monitors, options = Options} = State,
    case send({'C', Id, Module, Function, Args}, State) of
        ok ->
            Monitor = monitor(process, Caller),
            Timer = timer(Timeout, proplists:get_value(call_timeout, Options, infinity), Id),
            {noreply, State#state{
                next = if Id >= ?LARGEST -> 1; true -> Id + 1 end,
                callers = Callers#{Id => {From, Monitor, Timer}},
                monitors = Monitors#{Monitor => {caller, Id}}}};
        {error, Reason} ->
            {reply, {error, Reason}, State}
    end;
handle_call(_, _, State) ->
    {reply, {error, badarg}, State}.

timer(default, Default, Id) -> timer(Default, infinity, Id);
timer(infinity, _, _) -> undefined;
timer(Timeout, _, Id) -> erlang:send_after(Timeout, self(), {?MODULE, timeout, Id}).

handle_cast({message, Message}, State) ->
    send({'M', Message}, State),
    {noreply, State};
handle_cast(Other, State) ->
    send({'M', Other}, State),
    {noreply, State}.

handle_info({?MODULE, timeout, Id}, State) ->
    {noreply, give_up(Id, {error, timeout}, State)};
handle_info({?MODULE, done, Id, Answer}, State) ->
    {noreply, answered(Id, Answer, State)};
handle_info({'DOWN', Monitor, process, _, Reason} = Info, #state{monitors = Monitors} = State) ->
    case Monitors of
        #{Monitor := {caller, Id}} -> {noreply, give_up(Id, none, State)};
        #{Monitor := {task, _, Id}} ->
            {noreply, answered(Id, failed(exit, Reason, []), State)};
        _ -> forward(Info, State)
    end;
handle_info({'EXIT', Port, Reason}, #state{transport = {port, Port}} = State) ->
    lost({exit, Reason}, State);
handle_info({'EXIT', _, Reason}, State) when Reason =/= normal ->
    {stop, Reason, State};
handle_info(Info, #state{transport = Transport} = State) ->
    case received(Transport, Info) of
        {data, Bin} ->
            try binary_to_term(Bin) of
                Message -> message(Message, State)
            catch
                error:badarg -> {stop, {invalid_protocol_data, Bin}, State}
            end;
        {closed, Reason} -> lost(Reason, State);
        other -> forward(Info, State)
    end.

forward({'EXIT', _, normal}, State) ->
    {noreply, State};
forward(Info, State) ->
    send({'M', Info}, State),
    {noreply, State}.

message({r, Id, Value}, State) -> {noreply, settle(Id, {ok, Value}, State)};
message({e, Id, Error}, State) -> {noreply, settle(Id, {error, Error}, State)};
message({e, Error}, State) -> {stop, {message_handler_error, Error}, State};
message({'M', To, Message}, State) ->
    try To ! Message catch error:badarg -> ok end,
    {noreply, State};
message({'P', Text}, State) ->
    io:put_chars(Text),
    {noreply, State};
message({'X', Id}, #state{tasks = Tasks} = State) ->
    case Tasks of
        #{Id := Task} -> exit(Task, kill);
        _ -> ok
    end,
    {noreply, State};
message({'C', Id, Module, Function, Args, 'L'}, State) ->
    send(reply(Id, run(Module, Function, Args)), State),
    {noreply, State};
message({'C', Id, Module, Function, Args, _}, State) ->
    #state{tasks = Tasks, monitors = Monitors} = State,
    Self = self(),
    {Task, Monitor} = spawn_monitor(fun() ->
        Self ! {?MODULE, done, Id, run(Module, Function, Args)}
    end),
    {noreply, State#state{tasks = Tasks#{Id => Task},
                          monitors = Monitors#{Monitor => {task, Task, Id}}}};
message(Other, State) ->
    {stop, {invalid_protocol_message, Other}, State}.

%% What Python asked for has an answer. A task that is not known has been answered before.
answered(Id, Answer, #state{tasks = Tasks, monitors = Monitors} = State) ->
    case maps:take(Id, Tasks) of
        {Task, Rest} ->
            Left = maps:filter(fun(Monitor, {task, Pid, _}) when Pid =:= Task ->
                                       demonitor(Monitor, [flush]), false;
                                  (_, _) -> true
                               end, Monitors),
            send(reply(Id, Answer), State),
            State#state{tasks = Rest, monitors = Left};
        error -> State
    end.

run(Module, Function, Args) ->
    try {ok, apply(Module, Function, Args)}
    catch Class:Reason:Stack -> failed(Class, Reason, Stack)
    end.

%% An error of another language is passed on as it is.
failed(error, {python, _, _, _} = Error, _) -> {error, Error};
failed(Class, Reason, Stack) -> {error, {erlang, Class, Reason, Stack}}.

reply(Id, {ok, Value}) -> {r, Id, Value};
reply(Id, {error, Error}) -> {e, Id, Error}.

settle(Id, Result, #state{callers = Callers, monitors = Monitors} = State) ->
    case maps:take(Id, Callers) of
        {{From, Monitor, Timer}, Rest} ->
            demonitor(Monitor, [flush]),
            is_reference(Timer) andalso erlang:cancel_timer(Timer),
            Result =:= none orelse gen_server:reply(From, Result),
            State#state{callers = Rest, monitors = maps:remove(Monitor, Monitors)};
        error -> State
    end.

%% Nobody waits for an answer any more.
give_up(Id, Result, #state{callers = Callers} = State) ->
    maps:is_key(Id, Callers) andalso send({'X', Id}, State),
    settle(Id, Result, State).

lost(Reason, #state{callers = Callers} = State) ->
    Closed = {port_closed, Reason},
    Left = lists:foldl(fun(Id, Acc) -> settle(Id, {error, Closed}, Acc) end,
                       State, maps:keys(Callers)),
    {stop, Closed, Left}.

terminate(_, #state{transport = Transport, callers = Callers, tasks = Tasks} = State) ->
    lists:foldl(fun(Id, Acc) -> settle(Id, {error, stopped}, Acc) end, State, maps:keys(Callers)),
    [exit(Task, kill) || Task <- maps:values(Tasks)],
    close(Transport).

%% -- transports

connect(Options) ->
    Packet = proplists:get_value(packet, Options, 4),
    Timeout = proplists:get_value(start_timeout, Options, 10000),
    case {proplists:get_value(address, Options), proplists:get_value(socket, Options)} of
        {undefined, undefined} -> {port, open(Packet, Options)};
        {undefined, Path} ->
            connected(gen_tcp, gen_tcp:connect({local, Path}, 0, socket_options(Packet), Timeout));
        {{Host, Port}, _} ->
            case proplists:get_value(tls, Options) of
                undefined ->
                    All = [{nodelay, true} | socket_options(Packet)],
                    connected(gen_tcp, gen_tcp:connect(Host, Port, All, Timeout));
                Tls ->
                    {ok, _} = application:ensure_all_started(ssl),
                    All = Tls ++ [{nodelay, true} | socket_options(Packet)],
                    connected(ssl, ssl:connect(Host, Port, All, Timeout))
            end
    end.

socket_options(Packet) -> [binary, {packet, Packet}, {active, true}].

connected(Module, {ok, Socket}) -> {Module, Socket};
connected(_, {error, Reason}) -> erlang:error(Reason).

open(Packet, Options) ->
    Python = proplists:get_value(python, Options, os:getenv("RPYC_LIKE_PYTHON", "python3")),
    case os:find_executable(Python) of
        false -> erlang:error({python_not_found, Python});
        Program ->
            {Io, Flag} = case proplists:get_bool(nouse_stdio, Options) of
                             true -> {nouse_stdio, "--nouse_stdio"};
                             false -> {use_stdio, "--use_stdio"}
                         end,
            Args = ["-u", "-m", "rpyc_like.erlport", "--cancels", Flag,
                    "--packet=" ++ integer_to_list(Packet)]
                ++ ["--" ++ atom_to_list(Key) ++ "=" ++ value(Value)
                    || Key <- [compressed, threads, none, text, binaries],
                       {_, Value} <- [proplists:lookup(Key, Options)]],
            Cd = [Option || {cd, _} = Option <- Options],
            open_port({spawn_executable, Program},
                      [binary, hide, exit_status, Io, {packet, Packet}, {args, Args},
                       {env, environment(Options)} | Cd])
    end.

value(Value) when is_integer(Value) -> integer_to_list(Value);
value(Value) when is_atom(Value) -> atom_to_list(Value).

environment(Options) ->
    Env = proplists:get_value(env, Options, []),
    case proplists:get_value(python_path, Options, []) of
        [] -> Env;
        [First | _] = Path when is_integer(First) -> path([Path], Env);
        Paths -> path(Paths, Env)
    end.

path(Paths, Env) ->
    Separator = case os:type() of {win32, _} -> ";"; _ -> ":" end,
    Known = proplists:get_value("PYTHONPATH", Env, os:getenv("PYTHONPATH", "")),
    All = lists:join(Separator, [P || P <- Paths ++ [Known], P =/= ""]),
    [{"PYTHONPATH", lists:flatten(All)} | proplists:delete("PYTHONPATH", Env)].

send(Message, #state{transport = Transport, options = Options}) ->
    Bin = term_to_binary(Message, compression(Options)),
    Limit = (1 bsl (8 * proplists:get_value(packet, Options, 4))) - 1,
    if
        byte_size(Bin) > Limit -> {error, {too_long, byte_size(Bin), Limit}};
        true -> transmit(Transport, Bin)
    end.

compression(Options) ->
    case proplists:get_value(compressed, Options, 0) of
        0 -> [];
        Level -> [{compressed, Level}]
    end.

transmit({port, Port}, Bin) ->
    try port_command(Port, Bin) of _ -> ok catch error:badarg -> {error, {port_closed, closed}} end;
transmit({Module, Socket}, Bin) ->
    case Module:send(Socket, Bin) of
        ok -> ok;
        {error, Reason} -> {error, {port_closed, Reason}}
    end.

received({port, Port}, {Port, {data, Bin}}) -> {data, Bin};
received({port, Port}, {Port, {exit_status, Status}}) -> {closed, {code, Status}};
received({gen_tcp, Socket}, {tcp, Socket, Bin}) -> {data, Bin};
received({gen_tcp, Socket}, {tcp_closed, Socket}) -> {closed, closed};
received({gen_tcp, Socket}, {tcp_error, Socket, Reason}) -> {closed, Reason};
received({ssl, Socket}, {ssl, Socket, Bin}) -> {data, Bin};
received({ssl, Socket}, {ssl_closed, Socket}) -> {closed, closed};
received({ssl, Socket}, {ssl_error, Socket, Reason}) -> {closed, Reason};
received(_, _) -> other.

close({port, Port}) -> catch port_close(Port), ok;
close({Module, Socket}) -> catch Module:close(Socket), ok.
