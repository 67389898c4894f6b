/** A use that stands in an archive's file. */
import type { Database } from "./database.ts";
import { asService, rpc } from "./roles.ts";

const everyone = "00000000-0000-0000-0000-000000000000";

/** Records a use of that user, and has it archived at once, whatever the day is. */
export async function archiveUse(db: Database, user: string, key: string): Promise<void> {
  const { usage_id: id } = await asService(db, (client) =>
    rpc(client, "track_token_usage", {
      p_user_id: user,
      p_action_type: "chat_conversation",
      p_tokens_used: 1,
      p_on_shortage: "partial",
      p_idempotency_key: key,
    }),
  );
  const client = await db.admin.connect();
  try {
    await client.query("begin");
    await client.query("lock table tokenbook.usage_marks in share row exclusive mode");
    await client.query(
      "insert into tokenbook.usage_marks (user_id, counted_until, closed_until) values ($1, 'infinity', 'infinity') on conflict (user_id) do update set counted_until = 'infinity', closed_until = 'infinity'",
      [everyone],
    );
    await client.query(
      "insert into tokenbook.usage_archives values ($1, 'a file', clock_timestamp(), 1, 1, 0, now(), now())",
      [key + user],
    );
    await client.query("set local timezone = 'UTC'");
    const { rows } = await client.query(
      `select tokenbook.archive_uses($1, array_agg(row_to_json(u)::text)) ->> 'archived' as archived
         from public.token_usage u where u.id = $2`,
      [key + user, id],
    );
    if (rows[0].archived !== "1") throw new Error("it is not archived");
    // counted by nobody
    await client.query("delete from tokenbook.usage_marks where user_id = $1", [everyone]);
    await client.query("delete from tokenbook.usage_totals where user_id = $1", [everyone]);
    await client.query("commit");
  } finally {
    client.release();
  }
}
