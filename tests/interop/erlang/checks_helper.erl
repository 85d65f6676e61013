%% What checks.erl needs beside itself: a supervisor, and a function that ends its process.
-module(checks_helper).
-behaviour(supervisor).
-export([start_link/1, init/1, suicide/0]).

start_link(Spec) -> supervisor:start_link(?MODULE, Spec).

init(Spec) -> {ok, {#{strategy => one_for_one, intensity => 5, period => 10}, [Spec]}}.

suicide() -> exit(self(), kill), timer:sleep(1000).
