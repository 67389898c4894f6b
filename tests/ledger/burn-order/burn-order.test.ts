import { afterAll, beforeEach, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { grant } from "../../support/books.ts";
import { asService, asUser, createUser, rpc } from "../../support/roles.ts";
import { storm } from "../../support/storm.ts";

let db: Database;
let user: string;
let named: Record<string, string>;
beforeEach(async () => {
  db ??= await createDatabase();
  await order("fifo");
  user = await createUser(db);
  named = {
    "oldest, never expires": await grant(db, user, 10),
    "expires late": await grant(db, user, 10, { expires_at: "2040-01-01T00:00:00Z" }),
    "expires soon": await grant(db, user, 10, { expires_at: "2035-01-01T00:00:00Z" }),
    "low priority": await grant(db, user, 10, { expires_at: "2034-01-01T00:00:00Z", priority: 90 }),
  };
});
afterAll(() => db.drop());

const order = (burnOrder: string) =>
  asService(db, (client) => rpc(client, "set_token_burn_order", { p_burn_order: burnOrder }));
const name = (id: string) => Object.keys(named).find((key) => named[key] === id);

/** What pays for everything, by name, and whether balance and quote show the same order. */
async function orderOfPaying(): Promise<(string | undefined)[]> {
  const balance = await asUser(db, user, (client) => rpc(client, "get_user_token_balance"));
  const quote = await asUser(db, user, (client) =>
    rpc(client, "estimate_tokens", { p_action_type: "chat_conversation", p_tokens_used: 40 }),
  );
  const receipt = await asUser(db, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 40 }),
  );
  const paid = receipt.deducted_from.map((part: { grant_id: string }) => part.grant_id);
  expect(balance.grants.map((g: { id: string }) => g.id)).toEqual(paid);
  expect(quote.would_be_deducted_from).toEqual(receipt.deducted_from);
  return paid.map(name);
}

test("fifo is the default, as the name says", async () => {
  expect(await orderOfPaying()).toEqual([
    "oldest, never expires",
    "expires late",
    "expires soon",
    "low priority",
  ]);
});

test("a project can have what expires first spent first, priority before either", async () => {
  await order("expiring_first");

  expect(await orderOfPaying()).toEqual([
    "expires soon",
    "expires late",
    "oldest, never expires",
    "low priority",
  ]);
});

test("the order changes while traffic runs: every deduction follows one of the two, and the books stay clean", async () => {
  const busy = await createUser(db);
  await grant(db, busy, 3_000);
  await grant(db, busy, 3_000, { expires_at: "2035-01-01T00:00:00Z" });

  const { mix } = await storm(db, {
    connections: 16,
    attempts: 1_000,
    run: async (client, attempt) => {
      if (attempt % 25 === 0) {
        await client.query("select public.set_token_burn_order($1)", [
          attempt % 50 === 0 ? "expiring_first" : "fifo",
        ]);
        return "changed";
      }
      const { rows } = await client.query("select public.deduct_tokens_with_fifo($1, 3) as r", [busy]);
      return rows[0].r.success ? "deducted" : "short";
    },
  });

  expect(mix).toEqual({ changed: 40, deducted: 960 });
  expect((await db.admin.query("select * from public.verify_token_ledger()")).rows).toEqual([]);
});

test("another order is refused, and users may not choose one", async () => {
  await expect(order("lifo")).rejects.toMatchObject({ code: "PT400", message: "invalid_burn_order" });
  await expect(
    asUser(db, user, (client) => rpc(client, "set_token_burn_order", { p_burn_order: "fifo" })),
  ).rejects.toMatchObject({ code: "42501" });
});
