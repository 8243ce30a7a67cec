"""Index the refusals by user and by reason, where the database has partial indexes."""

from django.db import migrations

from djhookbox.audit.partial import AddPartialIndex, PartialIndex


class Migration(migrations.Migration):

    dependencies = [
        ("djhookbox", "0014_numbering_function"),
    ]

    operations = [
        AddPartialIndex(
            model_name="connectionlog",
            index=PartialIndex(
                column="event",
                values=('refused',),
                fields=['user_name', 'created', 'id'],
                name="hookbox_conn_refused_user",
            ),
        ),
        AddPartialIndex(
            model_name="connectionlog",
            index=PartialIndex(
                column="event",
                values=('refused',),
                fields=['decided_by', 'reason', 'created', 'id'],
                name="hookbox_conn_refused_why",
            ),
        ),
        AddPartialIndex(
            model_name="subscriptionlog",
            index=PartialIndex(
                column="event",
                values=('refused', 'create_refused'),
                fields=['event', 'user_name', 'created', 'id'],
                name="hookbox_sub_refused_user",
            ),
        ),
        AddPartialIndex(
            model_name="subscriptionlog",
            index=PartialIndex(
                column="event",
                values=('refused', 'create_refused'),
                fields=['event', 'decided_by', 'reason', 'created', 'id'],
                name="hookbox_sub_refused_why",
            ),
        ),
        AddPartialIndex(
            model_name="publication",
            index=PartialIndex(
                column="status",
                values=('refused',),
                fields=['user_name', 'created', 'id'],
                name="hookbox_pub_refused_user",
            ),
        ),
        AddPartialIndex(
            model_name="publication",
            index=PartialIndex(
                column="status",
                values=('refused',),
                fields=['decided_by', 'reason', 'created', 'id'],
                name="hookbox_pub_refused_why",
            ),
        ),
    ]
