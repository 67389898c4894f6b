/** Edge functions and a token whose subject is no uuid: signed by the project's key, for an issuer that is let in. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { asService, createUser, rpc } from "../../support/roles.ts";
import { grant } from "../../support/books.ts";
import { startStack, type Caller, type Stack } from "../stack.ts";

const CLERK = "https://clerk.example.com";
const SUBJECT = "user_2x4Yb";

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ AUTH_ISSUER: `https://api.example.com/auth/v1 ${CLERK}` });
}, 60_000);
afterAll(() => stack.close());

const caller = async (iss: string): Promise<Caller> => ({
  headers: {
    apikey: stack.keys.publishableKey,
    authorization: `Bearer ${await stack.token(SUBJECT, { iss })}`,
  },
});

test("an issuer that AUTH_ISSUER does not name is not let in", async () => {
  const { status, body } = await stack.ask("balance", { caller: await caller("https://other.example.com") });
  expect({ status, code: body.code }).toEqual({ status: 401, code: "not_authenticated" });
});

test("a subject is refused by name until it is registered, and is its user then", async () => {
  const before = await stack.ask("balance", { caller: await caller(CLERK) });
  expect(before.body).toMatchObject({
    status: 403,
    code: "subject_not_registered",
    issuer: CLERK,
  });

  const user = await createUser(stack.db);
  await grant(stack.db, user, 100);
  await asService(stack.db, (client) =>
    rpc(client, "set_token_subject", { p_user_id: user, p_issuer: CLERK, p_subject: SUBJECT }),
  );
  const after = await stack.ask("balance", { caller: await caller(CLERK) });
  expect(after).toMatchObject({ status: 200, body: { balance: { total_active: 100 } } });
});
