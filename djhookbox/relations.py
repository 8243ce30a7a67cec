"""A many-to-many relation between models that a router may store in different databases.

Django joins the two tables, which is impossible across databases. In that case, the keys are read
from the intermediate table, and the objects are then fetched by their keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from operator import attrgetter
from typing import Any

from django.db import models, router, transaction
from django.db.models.fields.related_descriptors import ManyToManyDescriptor
from django.utils.functional import cached_property


def allow_apart(model: type[models.Model], name: str) -> None:
    """Allow the objects of a many-to-many field of a model to be in another database."""
    field: Any = model._meta.get_field(name)
    setattr(model, name, _Descriptor(field.remote_field))


class _Descriptor(ManyToManyDescriptor):  # type: ignore[type-arg]
    @cached_property
    def related_manager_cls(self) -> Any:
        return _manager(super().related_manager_cls)


def _manager(base: Any) -> Any:
    """Return a manager of the related objects that avoids joins across databases."""

    class Manager(base):  # type: ignore[misc]
        def _is_apart(self) -> bool:
            return router.db_for_write(self.model) != router.db_for_write(self.through)

        def _rows(self, db: str, instances: Iterable[Any]) -> Any:
            rows = self.through._default_manager.using(db)
            return rows.filter(**{f"{self.source_field_name}__in": [each.pk for each in instances]})

        def _chosen(self, rows: Any) -> set[object]:
            return set(rows.values_list(self.target_field.attname, flat=True))

        def get_queryset(self) -> object:
            if not self._is_apart():
                return super().get_queryset()
            known = getattr(self.instance, "_prefetched_objects_cache", {})
            if self.prefetch_cache_name in known:
                return known[self.prefetch_cache_name]
            db = router.db_for_read(self.through, instance=self.instance)
            keys = self._chosen(self._rows(db, [self.instance]))
            return self.model._default_manager.filter(pk__in=keys)

        def get_prefetch_querysets(
            self, instances: Sequence[Any], querysets: Sequence[Any] | None = None
        ) -> Any:
            if not self._is_apart():
                return super().get_prefetch_querysets(instances, querysets)
            db = router.db_for_read(self.through, instance=instances[0])
            chosen: dict[object, list[object]] = {instance.pk: [] for instance in instances}
            names = (self.source_field.attname, self.target_field.attname)
            for source, target in self._rows(db, instances).values_list(*names):
                chosen[source].append(target)
            objects = querysets[0] if querysets else self.model._default_manager.all()
            for instance in instances:
                # Django requests this queryset unevaluated in order to fill it.
                cached = objects.filter(pk__in=chosen[instance.pk])
                instance._prefetched_objects_cache[self.prefetch_cache_name] = cached
            keys = {key for found in chosen.values() for key in found}
            copies = []
            for each in objects.filter(pk__in=keys):
                for source in chosen:
                    if each.pk in chosen[source]:
                        one = copy(each)
                        one._of = source
                        copies.append(one)
            name = self.prefetch_cache_name
            return copies, attrgetter("_of"), attrgetter("pk"), False, name, False

        def set(
            self,
            objs: Iterable[object],
            *,
            clear: bool = False,
            through_defaults: dict[str, Any] | None = None,
        ) -> None:
            if not self._is_apart():
                super().set(objs, clear=clear, through_defaults=through_defaults)
                return
            wanted = {each.pk if isinstance(each, models.Model) else each for each in objs}
            db = router.db_for_write(self.through, instance=self.instance)
            with transaction.atomic(using=db, savepoint=False):
                if clear:
                    self.clear()
                had = self._chosen(self._rows(db, [self.instance]))
                self.remove(*(had - wanted))
                self.add(*(wanted - had), through_defaults=through_defaults)

        set.alters_data = True  # type: ignore[attr-defined]

    return Manager
