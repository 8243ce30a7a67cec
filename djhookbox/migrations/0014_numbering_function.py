from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

#: Numbers the publications of one transaction as `djhookbox.outbox.numbering` does, but within one
#: statement whose plans PostgreSQL keeps. It refuses whatever is not simple; see
#: `djhookbox.outbox.procedure`, which calls it.
CREATE = """
CREATE FUNCTION djhookbox_number(
    ids bigint[], tokens text[],
    payloads text[], previews text[], sizes integer[], kinds text[],
    channel_digest text, opener text, history_size integer, history_duration integer,
    OUT outcome text, OUT number bigint, OUT token text, OUT incarnation text,
    OUT epoch text, OUT place bigint, OUT revoked bigint, OUT revoked_token text
) LANGUAGE plpgsql AS $$
DECLARE
    rows integer := cardinality(ids);
    moment timestamptz;
    stream bigint;
BEGIN
    outcome := 'refused';
    -- Each of the statements below must see what was committed before it.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN;
    END IF;
    -- The lock; everything else is read after it.
    SELECT h.number, h.token, h.incarnation INTO number, token, incarnation
        FROM djhookbox_streamhead h WHERE h.id = 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        outcome := 'locked';
        RETURN;
    END IF;
    -- Nothing else may wait, neither publications nor revocations.
    IF ARRAY(
        SELECT o.id FROM djhookbox_outbox o WHERE NOT o.failed ORDER BY o.id LIMIT rows + 1
    ) <> ids THEN
        RETURN;
    END IF;
    SELECT r.number, r.token INTO revoked, revoked_token
        FROM djhookbox_revocationhead r
        WHERE r.id = 1 AND NOT EXISTS (
            SELECT FROM djhookbox_revocation v WHERE v.number IS NULL
        );
    IF NOT FOUND THEN
        RETURN;
    END IF;
    moment := clock_timestamp();
    UPDATE djhookbox_streamchannel c
        SET "offset" = c."offset" + rows, published = moment,
            history_size = djhookbox_number.history_size,
            history_duration = djhookbox_number.history_duration
        WHERE c.digest = channel_digest AND c.opened_by = opener
        RETURNING c.id, c.epoch, c."offset" - rows INTO stream, epoch, place;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE djhookbox_streamhead h
        SET number = h.number + rows, token = tokens[rows], locked = moment
        WHERE h.id = 1;
    WITH moved AS (
        DELETE FROM djhookbox_outbox o WHERE o.id = ANY(ids)
        RETURNING o.*, array_position(ids, o.id) AS nth
    ), entered AS (
        INSERT INTO djhookbox_streamentry (
            number, token, channel_id, epoch, "offset",
            payload, user_name, connection_id, key, trace, created, numbered
        ) SELECT
            djhookbox_number.number + nth, tokens[nth], stream, djhookbox_number.epoch, place + nth,
            payload, user_name, connection_id, key, trace, created, moment
        FROM moved
    )
    INSERT INTO djhookbox_publication (
        created, channel, user_name, connection_id, source, status, error, decided_by, reason, note,
        number, delivered, payload, preview, size, kept
    ) SELECT
        created, channel, sender, connection_id, source, 'sent', '', decided_by, reason, '',
        djhookbox_number.number + nth, 0, payloads[nth]::jsonb, previews[nth], sizes[nth],
        kinds[nth]
    FROM moved;
    outcome := 'numbered';
END $$
"""

DROP = """
DROP FUNCTION IF EXISTS djhookbox_number(
    bigint[], text[], text[], text[], integer[], text[], text, text, integer, integer
)
"""


def create(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(CREATE, params=None)


def drop(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(DROP, params=None)


class Migration(migrations.Migration):

    dependencies = [
        ('djhookbox', '0013_refusals_and_erasing'),
    ]

    operations = [
        # To every database that has the table.
        migrations.RunPython(create, drop, hints={"model_name": "outbox"}),
    ]
