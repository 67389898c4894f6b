/** What the compiler knows of the client, and what it refuses: checked with everything else by `npm run check`. */
import type { SupabaseClient } from "@supabase/supabase-js";
import {
  type Deduction,
  type Shortage,
  tokenbook,
  TokenbookError,
} from "../../packages/tokenbook/src/client/index.ts";
import type { Database } from "../../supabase/functions/_shared/database.types.ts";

declare function same<A, B>(
  same: (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false,
): void;

/** Any client of supabase-js will do: untyped, with this database's types, with an app's own. */
export function clients(
  untyped: SupabaseClient,
  typed: SupabaseClient<Database>,
  theirs: SupabaseClient<{
    public: {
      Tables: {
        notes: { Row: { id: number }; Insert: { id: number }; Update: { id?: number }; Relationships: [] };
      };
      Views: Record<never, never>;
      Functions: { hello: { Args: { name: string }; Returns: string } };
    };
  }>,
) {
  return [tokenbook(untyped), tokenbook(typed), tokenbook(theirs)];
}

export async function answers(supabase: SupabaseClient): Promise<void> {
  const books = tokenbook(supabase);
  const spent = await books.deduct(50);
  same<typeof spent, Deduction | Shortage>(true);
  if (spent.success) same<typeof spent.transaction_id, number>(true);
  else {
    same<typeof spent.transaction_id, null>(true);
    same<typeof spent.tokens_deducted, 0>(true);
    spent.capped_by?.resets_at.slice();
    // @ts-expect-error: there need not be a cap
    spent.capped_by.resets_at.slice();
  }
  const { tokens_limit, grants } = await books.balance();
  same<typeof tokens_limit, number | null>(true);
  same<(typeof grants)[number]["expires_at"], string | null>(true);
  for await (const entry of books.history()) same<typeof entry.tokens, number>(true);
  same<Awaited<ReturnType<typeof books.canSpend>>, boolean>(true);

  // @ts-expect-error: tokens are a number
  await books.deduct("50");
  // @ts-expect-error: the name of an option
  await books.deduct(50, { action_type: "chat_conversation" });
  // @ts-expect-error: what for must be said
  await books.track({ tokens: 5 });
  // @ts-expect-error: one of two
  await books.track({ actionType: "chat_conversation", onShortage: "ignore" });
  // @ts-expect-error: for whom must be said
  await books.caps.set("day", { tokens: 5 });
  // @ts-expect-error: for one of the three
  await books.caps.set("day", { tokens: 5, userId: "u", forEveryone: true });
  // @ts-expect-error: a plan or a pack
  await books.checkout({ successUrl: "", cancelUrl: "" });
  // @ts-expect-error: plans are bought once
  await books.payments.request({ planType: "pro", quantity: 2 });
  // @ts-expect-error: why must be said
  await books.payments.reject("id");
}

export function refusals(error: unknown): string {
  if (!(error instanceof TokenbookError)) return "";
  // @ts-expect-error: there is no such error
  if (error.code === "out_of_tokens") return "";
  if (error.code === "spend_cap_reached") return error.facts.resetsAt ?? "";
  return error.retryable ? "later" : error.hint;
}
