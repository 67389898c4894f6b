/* What an app does: it spends, and shows. Run by Node, Deno and Bun, and checked by the compiler in each way of resolving. */
import process from "node:process";
import { createClient } from "@supabase/supabase-js";
import { tokenbook, TokenbookError, type TokenTransaction } from "tokenbook";

export type { ChargeOptions } from "tokenbook/ai"; // so that the compiler looks at these types too

globalThis.WebSocket ??= Object as never; // Node 20 has none, and supabase-js wants one to be there
const [url, key, userId] = [process.env["URL"]!, process.env["KEY"]!, process.env["USER_ID"]!];
const supabase = createClient(url, key, { auth: { persistSession: false } });
const books = tokenbook(supabase, { userId });

const spent = await books.deduct(50, { actionType: "chat_conversation" });
if (!spent.success) throw new Error(`${spent.tokens_remaining_to_deduct} tokens are missing`);
const deducted: number = spent.tokens_deducted;
const { total_active } = await books.balance();
const refused: unknown = await books.deduct(-1).catch((error: unknown) => error);
const entries: TokenTransaction["tokens"][] = [];
for await (const entry of books.history()) entries.push(entry.tokens);
console.log(
  JSON.stringify({
    spent: deducted,
    total_active,
    entries,
    refused: refused instanceof TokenbookError && refused.code,
  }),
);

/** Never called: each must be an error. */
export async function wrong(): Promise<void> {
  // @ts-expect-error tokens are a number
  await books.deduct("50");
  // @ts-expect-error there is no such option
  await books.deduct(50, { idempotency_key: "a" });
  const balance = await books.balance();
  // @ts-expect-error there is no such field
  console.log(balance.total);
  const charge = await books.deduct(50);
  // @ts-expect-error of a shortage there is no transaction, and success has not been looked at
  const id: number = charge.transaction_id;
  console.log(id);
}
