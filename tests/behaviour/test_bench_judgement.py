"""What the benchmark and the gate on costs make of their figures: no comparison of different work, no pass for work not done."""
import importlib.util
import pathlib
import xml.dom.minidom

TESTS = pathlib.Path(__file__).resolve().parents[1]


def module(path):
    spec = importlib.util.spec_from_file_location(f"tools_{path.stem}", path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


report = module(TESTS / "bench/report.py")
gate = module(TESTS / "tools/instructions.py")


def counted(*backends):
    return [{"connections": 8, "requests": requests, "refusals": refusals, "events": 0} for requests, refusals in backends]


def test_only_a_refusal_and_an_answer_for_each_request_is_compared():
    for behaviour, backends, same in (
            ("each request was refused, then answered", ((5000, 5000), (5000, 0)), True),
            ("HAProxy's second server has a little weight", ((4980, 4980), (5000, 0)), True),
            ("the first backend was passed over for a while", ((2500, 2500), (5000, 0)), False),
            ("it was passed over after its first refusal", ((8, 8), (5000, 0)), False),
            ("it was never asked", ((0, 0), (5000, 0)), False),
            ("it answered some", ((5000, 2500), (2500, 0)), False),
            ("it was asked again before the other", ((10000, 10000), (5000, 0)), False),
            ("the second refused too", ((5000, 5000), (5000, 10)), False),
            ("nothing was answered", ((5000, 5000), (0, 0)), False)):
        fault = report.other_work(counted(*backends))
        assert (fault is None) == same, (behaviour, fault)


def test_a_backend_out_of_quota_has_to_be_met_and_the_others_used():
    for behaviour, backends, good in (("met now and then", ((5, 5), (5000, 0), (5000, 0)), True),
                                      ("never met", ((0, 0), (5000, 0), (5000, 0)), False),
                                      ("one of the others idle", ((5, 5), (5000, 0), (0, 0)), False)):
        fault = report.no_refusal(counted(*backends))
        assert (fault is None) == good, (behaviour, fault)
    assert report.attempts(counted((2500, 2500), (5000, 0), (5000, 0))) == 1.25


def rounds(*cpu, **more):
    return [{"cpu_us": each, "per_second": 1000.0, "p50_us": 100, "p99_us": 200, **more} for each in cpu]


def case(same_work, **more):
    results = {"aoai-lb": rounds(10.0, 12.0, **more), "nginx": rounds(20.0, 16.0, **more), "haproxy": rounds(10.0, 10.0, **more)}
    return {"name": "x", "title": "a < b", "goal": 0.85, "unit": "answer", "same_work": same_work, "rounds": results,
            "figures": report.summary(results)}


def test_ratios_are_made_pair_by_pair_and_only_where_the_work_is_the_same():
    whole = {"cases": [case(True), case(False, attempts=1.25)], "others": [{"title": "idle", "aoai-lb": 1.0, "nginx": 2.0}],
             "scale": {"workers": [{"workers": 1, "cpu_us": 2.5}]}}
    compared, observed, others, scale = report.table(whole).split("\n\n")
    assert "| a < b | 11.0 ±5 % | 18.0 ±6 % | 10.0 ±0 % | 0.62 ±10 % | 1.10 ±5 % | 0.85 | – |" in compared
    assert "1.250" in observed and "0.62" not in observed and "0.85" not in observed
    assert "| idle | 1.0 | 2.0 | – |" in others and "| 1 | 2.5 |" in scale
    whole["cases"].append({"title": "gone wrong", "same_work": True, "goal": 1, "fault": "5 errors"})
    assert "| gone wrong | not compared |" in report.table(whole)
    picture = xml.dom.minidom.parseString(report.plot(whole))
    assert len(picture.getElementsByTagName("rect")) == 2, "one bar on the ground"
    assert report.summary({"aoai-lb": rounds(10.0)})["aoai-lb"]["cpu_us"]["spread"] is None, "one round has no spread"


def test_the_gate_fails_on_what_is_dear_unrecorded_or_too_good_to_be_true():
    for figure, recorded, limit, holds in ((100, 100, 150, True), (104, 100, 150, True), (106, 100, 150, False),
                                           (120, 120, 110, False), (94, 100, 150, True), (49, 100, 150, False),
                                           (0, 100, 150, False), (-3, 100, 150, False), (100, None, 150, False)):
        line, found = gate.judge("x", figure, {"recorded": recorded, "limit": limit}, 0.05)
        assert found == holds, line


def test_each_cost_has_a_budget_and_each_budget_a_cost():
    budgets = {"cases": {name: {what: {"recorded": 1, "limit": 1} for what in gate.MEASURES} for name in gate.CASES}}
    assert gate.missing_budgets(budgets) == []
    del budgets["cases"]["tls"]["system_calls"]
    budgets["cases"]["gone"] = {"instructions": {}}
    assert gate.missing_budgets(budgets) == [("gone", "instructions"), ("tls", "system_calls")]


def test_the_log_of_system_calls_is_counted_line_by_line():
    log = ("SYSCALL[1,1]( 14) sys_rt_sigprocmask ( 0 ) --> [pre-success] Success(0x0) \n"
           "SYSCALL[1,7](228) sys_clock_gettime( 6 )[sync] --> Success(0x0) \n"
           "SYSCALL[1,7](232) sys_epoll_wait ( 4, 32, 1628 ) --> [async] ... \n"
           "SYSCALL[1,7](232) ... [async] --> Failure(0x4) \n"
           "SYSCALL[1,7](232) sys_epoll_wait ( 4, 32, 1628 ) --> [async] ... \n"
           "SYSCALL[1,7](232) ... [async] --> Success(0x1) \n"
           "SYSCALL[1,7](45) sys_recvfrom ( 9, 65536 ) --> [async] ... \n"
           "SYSCALL[1,7](45) ... [async] --> Failure(0xb) \n")
    assert len(gate.SYSTEM_CALL.findall(log)) == 4 and len(gate.INTERRUPTED.findall(log)) == 1
