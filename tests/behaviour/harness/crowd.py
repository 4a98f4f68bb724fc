"""Many callers at once."""
import threading


def start_crowd(count, work):
    """Runs work(number) in so many threads. Returns a function that waits for all of them and raises the first fault."""
    faults = []

    def one(number):
        try:
            work(number)
        except BaseException as fault:  # pylint: disable=broad-except
            faults.append(fault)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()

    def join():
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a caller waits for ever"
        if faults:
            raise faults[0]

    return join


def crowd(count, work):
    """The same, waited for at once."""
    start_crowd(count, work)()
