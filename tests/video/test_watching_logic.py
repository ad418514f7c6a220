"""What watching does to scores and times, without any video."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasft.errors import ConfigError
from kerasft_video.watching.hysteresis import Hysteresis, Rule
from kerasft_video.watching.mailbox import Mailbox
from kerasft_video.watching.pace import Pace
from kerasft_video.watching.smoothing import Exponential, Moving, parse
from kerasft_video.watching.timeline import Timeline
from kerasft_video.watching.window import Schedule, Window

steps = st.lists(st.floats(0.01, 3.0), min_size=1, max_size=60)
score = st.floats(0.0, 1.0)
seconds = st.floats(0.0, 5.0)


@st.composite
def scored(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Times that rise, each with a score."""
    times = itertools.accumulate(draw(steps))
    return [(time, draw(score)) for time in times]


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    off, on = sorted((draw(score), draw(score)))
    return Rule(on=on, off=off, shortest=draw(seconds), pause=draw(seconds))


def smoothed(smoother: Exponential | Moving, track: list[tuple[float, float]]) -> list[float]:
    return [float(smoother.update(time, np.array([value]))[0]) for time, value in track]


class TestSmoothing:
    @given(scored(), seconds, st.sampled_from([Exponential, Moving]))
    def test_it_stays_between_the_lowest_and_the_highest_so_far(self, track, length, kind) -> None:
        for number, value in enumerate(smoothed(kind(seconds=length), track), start=1):
            seen = [score for _, score in track[:number]]
            assert min(seen) - 1e-9 <= value <= max(seen) + 1e-9

    @given(scored(), seconds)
    def test_moving_is_the_mean_of_the_last_seconds(self, track, length) -> None:
        for number, value in enumerate(smoothed(Moving(seconds=length), track), start=1):
            now = track[number - 1][0]
            seen = [s for time, s in track[:number] if time > now - length or time == now]
            assert value == pytest.approx(np.mean(seen))

    @given(steps, st.floats(0.1, 5.0), score, score)
    def test_exponential_is_the_same_however_often_a_score_is_said(self, gaps, length, first, then) -> None:
        often = Exponential(seconds=length)
        often.update(0.0, np.array([first]))
        for time in itertools.accumulate(gaps):
            value = often.update(time, np.array([then]))
        share = math.exp(-sum(gaps) / length)
        assert value[0] == pytest.approx(share * first + (1 - share) * then)

    @given(scored(), st.sampled_from(["none", "moving:0", "exponential:0"]))
    def test_none_leaves_scores_as_they_are(self, track, text) -> None:
        assert smoothed(parse(text), track) == [value for _, value in track]

    @given(scored(), st.sampled_from(["moving:2", "exponential:2"]))
    def test_reset_forgets(self, track, text) -> None:
        smoother = parse(text)
        smoothed(smoother, track)
        smoother.reset()
        assert smoothed(smoother, track) == smoothed(parse(text), track)

    def test_each_class_is_on_its_own(self) -> None:
        smoother = Exponential(seconds=1.0)
        smoother.update(0.0, np.array([0.0, 1.0]))
        assert smoother.update(1.0, np.array([1.0, 1.0])).round(3).tolist() == [0.632, 1.0]

    @pytest.mark.parametrize("kind", [Exponential, Moving])
    def test_time_does_not_go_back(self, kind) -> None:
        smoother = kind(seconds=1.0)
        smoother.update(1.0, np.zeros(1))
        with pytest.raises(ValueError, match=r"of 1\.0 s come after those of 1\.0 s"):
            smoother.update(1.0, np.zeros(1))

    @pytest.mark.parametrize(
        "text", ["", "mean:2", "moving", "moving:-1", "exponential:inf", "exponential:x"]
    )
    def test_what_is_wrong_is_said(self, text) -> None:
        with pytest.raises(ConfigError, match="write exponential:SECONDS, moving:SECONDS or none"):
            parse(text)


class TestHysteresis:
    @given(scored(), rules())
    def test_every_alarm_keeps_the_rule(self, track, rule) -> None:
        follow = Hysteresis(rule)
        turns = [turn for time, value in track if (turn := follow.update(time, value))]
        assert [turn.kind for turn in turns] == (["start", "end"] * len(turns))[: len(turns)]
        scores = dict(track)
        ended = -math.inf
        for number, turn in enumerate(turns):
            if turn.kind == "start":
                assert scores[turn.since] >= rule.on
                assert turn.time - turn.since >= rule.shortest
                assert turn.since >= ended + rule.pause
                assert all(s >= rule.off for time, s in track if turn.since <= time <= turn.time)
                end = turns[number + 1].time if number + 1 < len(turns) else math.inf
                assert all(s >= rule.off for time, s in track if turn.time <= time < end)
            else:
                assert scores[turn.time] < rule.off
                assert turn.score == max(s for time, s in track if turn.since <= time < turn.time)
                ended = turn.time

    @given(scored(), rules())
    def test_no_alarm_is_missed(self, track, rule) -> None:
        """Whenever none is on, no run of scores since the last end deserved one."""
        follow = Hysteresis(rule)
        ended, alarmed = -math.inf, False
        for number, (time, value) in enumerate(track):
            turn = follow.update(time, value)
            if turn is not None:
                alarmed = turn.kind == "start"
                ended = time if turn.kind == "end" else ended
            if alarmed:
                continue
            run = itertools.takewhile(lambda moment: moment[1] >= rule.off, reversed(track[: number + 1]))
            reached = [t for t, s in run if s >= rule.on and t >= ended + rule.pause and t > ended]
            assert not reached or time - min(reached) < rule.shortest

    def test_a_pause_between_the_thresholds_is_no_end(self) -> None:
        follow = Hysteresis(Rule(on=0.8, off=0.4))
        kinds = [
            turn.kind if (turn := follow.update(t, s)) else "" for t, s in enumerate([0.9, 0.5, 0.9, 0.3])
        ]
        assert kinds == ["start", "", "", "end"]

    def test_an_interruption_ends_an_alarm_and_forgets_a_beginning(self) -> None:
        follow = Hysteresis(Rule(on=0.8, off=0.4, shortest=1.0))
        assert follow.update(0.0, 0.9) is None
        assert follow.interrupt(0.5) is None
        assert follow.update(1.0, 0.9) is None
        turn = follow.update(2.0, 0.95)
        assert (turn.kind, turn.since) == ("start", 1.0)
        end = follow.interrupt(3.0)
        assert (end.kind, end.time, end.score) == ("end", 3.0, 0.95)
        assert follow.interrupt(4.0) is None

    @pytest.mark.parametrize(
        ("values", "said"),
        [
            ({"on": 0.5, "off": 0.6}, "off at most on"),
            ({"on": 1.5}, "between 0 and 1"),
            ({"shortest": -1.0}, "shortest -1"),
            ({"pause": math.inf}, "pause inf"),
        ],
    )
    def test_what_is_wrong_is_said(self, values, said) -> None:
        with pytest.raises(ConfigError, match=said):
            Rule(**values)


class TestSchedule:
    @given(steps, st.floats(0.0, 4.0))
    def test_moments_are_apart_and_none_is_forgotten(self, gaps, every) -> None:
        schedule = Schedule(every=every)
        times = list(itertools.accumulate(gaps))
        due = [time for time in times if schedule.due(time)]
        assert due[0] == times[0]
        # One that is late does not shift the next, so two may be nearer than `every`, three may not.
        assert all(c - a >= every - 1e-5 for a, c in zip(due, due[2:], strict=False))
        for before, after in itertools.pairwise(due):
            waited = [time for time in times if before < time < after]
            assert all(time - before < every + 1e-5 for time in waited)

    @given(st.integers(1, 60), st.integers(1, 30))
    def test_at_an_even_pace_there_is_one_for_each_interval(self, rate, every) -> None:
        schedule = Schedule(every=every / 10)
        due = sum(schedule.due(number / rate) for number in range(20 * rate + 1))
        assert due == (200 // every + 1 if every * rate >= 10 else 20 * rate + 1)

    def test_reset_makes_the_next_due(self) -> None:
        schedule = Schedule(every=10.0)
        assert [schedule.due(0.0), schedule.due(1.0)] == [True, False]
        schedule.reset()
        assert schedule.due(2.0)

    def test_what_is_wrong_is_said(self) -> None:
        with pytest.raises(ConfigError, match="every -1"):
            Schedule(every=-1)


class TestWindow:
    @given(steps, st.floats(0.1, 5.0))
    def test_it_holds_the_last_seconds(self, gaps, length) -> None:
        window: Window[float] = Window(seconds=length)
        times = list(itertools.accumulate(gaps))
        for number, time in enumerate(times, start=1):
            window.add(time, time)
            assert window.items == window.times
            kept = [t for t in times[:number] if time - t < length - 1e-6]
            assert window.items == kept

    @given(steps, st.integers(1, 70))
    def test_it_holds_the_last_pictures(self, gaps, count) -> None:
        window: Window[float] = Window(count=count)
        times = list(itertools.accumulate(gaps))
        for number, time in enumerate(times, start=1):
            window.add(time, time)
            assert window.items == times[:number][-count:]
            assert window.full == (number >= count)

    @given(st.integers(2, 60), st.integers(2, 40))
    def test_it_is_full_with_as_many_as_are_shown_in_its_time(self, rate, tenths) -> None:
        window: Window[int] = Window(seconds=tenths / 10)
        for number in range(math.ceil(rate * tenths / 10 - 1e-9)):
            assert not window.full or number == 0
            window.add(number / rate, number)
        assert window.full or len(window.items) < 2

    def test_clear_forgets(self) -> None:
        window: Window[int] = Window(count=1)
        window.add(0.0, 1)
        window.clear()
        assert (window.items, window.full) == ([], False)
        window.add(0.0, 2)
        assert window.full

    @pytest.mark.parametrize("size", [{"seconds": 0.0}, {"seconds": math.nan}, {"count": 0}])
    def test_what_is_wrong_is_said(self, size) -> None:
        with pytest.raises(ConfigError, match="above 0"):
            Window(**size)


class TestTimeline:
    @given(
        st.lists(
            st.one_of(st.none(), st.tuples(st.floats(-1e4, 1e4), st.floats(0.0, 3.0))),
            min_size=1,
            max_size=60,
        ),
        st.booleans(),
    )
    def test_time_goes_forward_whatever_the_source_says(self, events, jumps) -> None:
        line, arrived, times = Timeline(jumps=jumps), 0.0, []
        for event in events:
            if event is None:
                line.lost()
                continue
            arrived += event[1]
            moment = line.place(event[0], arrived)
            if moment is not None:
                times.append(moment.time)
        assert all(a < b for a, b in itertools.pairwise(times))

    @given(steps, st.floats(-100, 100))
    def test_a_source_keeps_its_own_intervals(self, gaps, start) -> None:
        line = Timeline(jumps=True)
        times = [start + time for time in itertools.accumulate(gaps)]
        placed = [line.place(time, 0.0) for time in times]
        assert not any(moment.gap for moment in placed)
        assert [m.time for m in placed] == pytest.approx([time - times[0] for time in times])

    def test_a_jump_is_a_gap_in_a_stream_and_part_of_a_film(self) -> None:
        for jumps in (True, False):
            line = Timeline(jumps=jumps)
            line.place(0.0, 0.0)
            moment = line.place(60.0, 0.1)
            assert (round(moment.time, 6), moment.gap) == ((0.1, True) if jumps else (60.0, False))

    def test_going_back_is_a_gap(self) -> None:
        line = Timeline(jumps=False)
        line.place(50.0, 0.0)
        moment = line.place(0.0, 0.0)
        assert moment.gap
        assert 0.0 < moment.time < 0.01

    def test_a_picture_that_comes_twice_is_left_out(self) -> None:
        line = Timeline(jumps=True)
        line.place(1.0, 0.0)
        assert line.place(1.0, 0.1) is None


class TestMailbox:
    @given(st.lists(st.lists(st.integers(), max_size=8), max_size=12), st.integers(1, 5))
    def test_the_newest_win_and_the_others_are_counted(self, rounds, room) -> None:
        box: Mailbox[int] = Mailbox(room=room)
        put = taken = 0
        for items in rounds:
            for item in items:
                box.put(item)
            found = box.take(timeout=0)
            assert found == items[-room:]
            put, taken = put + len(items), taken + len(found)
        assert box.lost == put - taken

    def test_what_waits_comes_before_the_end(self) -> None:
        box: Mailbox[str] = Mailbox(room=3)
        box.put("a")
        box.close(RuntimeError("broken"))
        assert box.take() == ["a"]
        with pytest.raises(RuntimeError, match="broken"):
            box.take()


def test_pace_counts() -> None:
    pace = Pace(now=10.0)
    assert math.isnan(pace.figures(11.0).p50)
    assert str(pace.figures(11.0)) == "0.0 frames/s, no score yet, 0 dropped"
    pace.pictures = 40
    for latency in range(1, 101):
        pace.scored(latency / 1000)
    figures = pace.figures(13.0)
    assert (figures.fps, figures.scores) == (20.0, 100)
    assert (figures.p50, figures.p95) == pytest.approx((0.0505, 0.09505))
    pace.pictures = 50
    assert pace.figures(15.0).fps == 5.0
    assert pace.figures(15.0, whole=True).fps == 10.0
