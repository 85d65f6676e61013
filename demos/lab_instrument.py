"""A lab instrument as a service: readings, settings that are guarded, progress by callbacks."""

import threading

import rpyc_like as rpyc
from rpyc_like.utils.server import ThreadedServer


class OutOfRange(ValueError):
    """The instrument cannot do that."""


class Voltmeter:
    """What clients get to see of the instrument: the exposed part."""

    def __init__(self, channel):
        self.channel = channel
        self.calibration = 0.5
        self.exposed_range = 10

    def exposed_read(self):
        return self.channel + self.calibration

    def exposed_set_range(self, volts):
        if volts not in (1, 10, 100):
            raise OutOfRange(f"range {volts} is not one of 1, 10, 100")
        self.exposed_range = volts


class InstrumentService(rpyc.Service):
    """Gives each client voltmeters, and sweeps."""

    def on_connect(self, conn):
        self.meters = {}

    def on_disconnect(self, conn):
        self.meters.clear()

    def exposed_meter(self, channel):
        return self.meters.setdefault(channel, Voltmeter(channel))

    def exposed_sweep(self, channels, progress):
        readings = []
        for number, channel in enumerate(channels):
            readings.append(self.exposed_meter(channel).exposed_read())
            if progress(number + 1, readings[-1]) is False:
                raise InterruptedError("stopped by the client")
        return tuple(readings)

    def exposed_watch(self, channel, count, on_reading):
        """Returns at once; readings come later, by calls of ``on_reading``."""
        meter = self.exposed_meter(channel)
        notify = rpyc.async_(on_reading)

        def run():
            for number in range(count):
                notify(number, meter.exposed_read() + number).wait()

        threading.Thread(target=run, daemon=True).start()


def main():
    server = ThreadedServer(InstrumentService, hostname="localhost", port=0, auto_register=False)
    server._start_in_thread()
    conn = rpyc.connect("localhost", server.port, config={"allow_public_attrs": True})

    meter = conn.root.meter(3)
    print("reading", meter.read(), "range", meter.range)
    meter.set_range(100)
    print("range", meter.range, "same meter:", conn.root.meter(3) == meter)
    for wrong in (
        lambda: meter.set_range(7),
        lambda: meter.calibration,
        lambda: setattr(meter, "range", 1),
        lambda: conn.root.meters,
    ):
        try:
            print("got", wrong())
        except AttributeError:
            print("denied")
        except Exception as error:
            print(type(error).__name__.rpartition(".")[2], "-", error.args[0])

    def progress(done, reading):
        print("progress", done, reading)
        return reading < 5

    print("sweep", conn.root.sweep([1, 2], progress))
    try:
        conn.root.sweep(range(3, 9), progress)
    except InterruptedError as error:
        print("interrupted:", error.args[0])

    background = rpyc.BgServingThread(conn)
    seen, finished = [], threading.Event()

    def on_reading(number, reading):
        seen.append((number, reading))
        if number == 2:
            finished.set()

    conn.root.watch(4, 3, on_reading)
    print("watched", finished.wait(10), seen)
    background.stop()
    conn.close()
    server.close()
    print("closed", conn.closed)


if __name__ == "__main__":
    main()
