"""A list of tasks in Python objects: the platform makes it durable."""

from dataclasses import dataclass
from typing import Optional

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.api import Task


@dataclass
class Kept:
    """A task as it is kept: its tags are a set."""

    id: int
    title: str
    tags: frozenset[str]

    def shown(self) -> Task:
        return Task(self.id, self.title, sorted(self.tags))


open_tasks: dict[int, Kept] = {}
given_ids = 0
done = 0


class Api(exports.Api):
    def add(self, title: str, tags: list[str]) -> int:
        global given_ids
        given_ids += 1
        open_tasks[given_ids] = Kept(given_ids, title, frozenset(tags))
        print(f"task {given_ids}: {title}")
        return given_ids

    def finish(self, id: int) -> Task:
        global done
        task = open_tasks.pop(id, None)
        if task is None:
            # An `Err` that is raised is the error of the function's result.
            raise Err(f"there is no open task {id}")
        done += 1
        return task.shown()

    def open(self, tag: Optional[str]) -> list[Task]:
        return [task.shown() for task in open_tasks.values() if tag is None or tag in task.tags]

    def finished(self) -> int:
        return done
