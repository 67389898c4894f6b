/** What is behind the names of names.ts when an example runs: a user of its own, and what it needs of theirs. */
import { randomUUID } from "node:crypto";
import { Webhook } from "standardwebhooks";
import * as adminEntry from "../../../packages/tokenbook/src/admin/index.ts";
import * as clientEntry from "../../../packages/tokenbook/src/client/index.ts";
import { type Hold } from "../../../packages/tokenbook/src/client/index.ts";
import type { Caller, Stack } from "../../functions/stack.ts";
import { adminBooksOf, booksOf, supabaseOf } from "../books.ts";

const secret = `whsec_${Buffer.alloc(24, 7).toString("base64")}`;

/**
 * What some names of an example are.
 *
 * @param isForServer whether it says whom it is about, as only an admin or the server does
 * @param shown where it shows something
 */
export async function givenFor(
  stack: Stack,
  names: readonly string[],
  { name, isForServer, shown }: { name: string; isForServer: boolean; shown: unknown[][] },
): Promise<Record<string, unknown>> {
  const [user, member] = [await stack.user(), await stack.user()];
  const whose: Caller = isForServer ? stack.server : user;
  const books = booksOf(stack, whose);
  const server = booksOf(stack, stack.server, { userId: user.id });
  if (/removeEndpoint|repeatDelivery|retryDeliveries/.test(name))
    await adminBooksOf(stack, stack.server).setEndpoint("crm", "https://crm.example.com/tokens");
  const { grant_id: grantId } = await server.grant(1_000_000, { grantType: "purchase" });
  const opened = new Date();

  const made: Record<string, () => unknown> = {
    ...Object.fromEntries(
      Object.entries({ ...clientEntry, ...adminEntry }).map(([exported, it]) => [exported, () => it]),
    ),
    supabase: () => supabaseOf(stack, name.startsWith("tokenbookAdmin") ? stack.server : user),
    server: () => supabaseOf(stack),
    books: () => books,
    admin: () => adminBooksOf(stack, stack.server),
    user: () => user,
    userId: () => user.id,
    async memberId() {
      if (name === "Tokenbook.team.remove") await server.team.add(member.id);
      return member.id;
    },
    grantId: () => grantId,
    endOfMonth: () => opened,
    holdId: async () => (await books.reserve(2_000)).hold_id,
    parentHold: async () => (await server.reserve(2_000)).hold_id,
    transactionId: async () => (await server.deduct(50)).transaction_id,
    async paymentId() {
      const { payment_id: id } = await booksOf(stack, user).payments.request({ packType: "small" });
      if (name === "Tokenbook.payments.refund") await server.payments.approve(id);
      return id;
    },
    async code() {
      if (name.endsWith("claimReferral")) return (await booksOf(stack, member).codes.referral()).code;
      const { data } = await supabaseOf(stack).rpc("create_token_code", { p_tokens: 500, p_name: "spring" });
      return (data as { code: string }).code;
    },
    codeId: async () => (await adminBooksOf(stack, stack.server).createCode(5, { name: "autumn" })).code_id,
    deliveryId: async () => (await adminBooksOf(stack, stack.server).deliveries()).deliveries[0]!.id,
    message: () => ({ id: randomUUID() }),
    secret: () => secret,
    request: () => delivery(user.id),
    show:
      () =>
      (...what: unknown[]) =>
        void shown.push(what),
    work: () => (hold: Hold) => Promise.resolve(hold.report({ tokens: 5 })),
    askTheModel: () => (prompt: string) =>
      Promise.resolve({ text: `Twice. (${prompt})`, input: 12, output: 3 }),
    streamTheModel: () => (prompt: string, hold: Hold) => {
      hold.report({ tokens: 5 });
      return Promise.resolve(new Blob([prompt]).stream().pipeThrough(new TextDecoderStream()));
    },
  };
  const given: Record<string, unknown> = {};
  for (const it of names) {
    if (!(it in made)) throw new Error(`there is no ${it} here`);
    given[it] = await made[it]!();
  }
  return given;
}

/** A webhook as deliver-webhooks posts it. */
function delivery(userId: string): Request {
  const at = new Date();
  const data = { user_id: userId, plan_type: "pro" };
  const body = JSON.stringify({ type: "token_plan.changed", timestamp: at.toISOString(), data });
  const headers = {
    "webhook-id": "plan_1",
    "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
    "webhook-signature": new Webhook(secret).sign("plan_1", at, body),
  };
  return new Request("https://app.example.com/webhooks", { method: "POST", headers, body });
}
