import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { Client } from "pg";
// The API runs a lost race again by itself, so often, before the function hears of it.
import { MAX_RUNS } from "local-platform/rest/database";
import { expectProblem } from "../problem.ts";
import { startStack, type Caller, type Stack } from "../stack.ts";

let stack: Stack;
let admin: Caller & { id: string };

beforeAll(async () => {
  stack = await startStack();
  admin = await stack.user({ admin: true });
  // counts attempts, those that are rolled back too
  await stack.db.admin.query(
    "create sequence public.attempts; grant usage on sequence public.attempts to authenticated, service_role",
  );
});
beforeEach(() => stack.db.admin.query("alter sequence public.attempts restart"));
afterAll(() => stack.close());

/** Makes each of the first `times` calls of adjust_tokens fail in that way; the ones after it work. */
async function failing(times: number, raise: string): Promise<void> {
  await stack.db.admin.query(`
    create or replace function public.adjust_tokens(
      p_user_id uuid, p_delta bigint, p_reason text default null,
      p_idempotency_key text default null, p_metadata jsonb default null)
    returns jsonb language plpgsql volatile security invoker set search_path = '' as $$
    begin
      if nextval('public.attempts') <= ${times} then
        ${raise}
      end if;
      return tokenbook.adjust_tokens(p_user_id, p_delta, p_reason, p_idempotency_key, p_metadata);
    end $$`);
}

async function attempts(): Promise<number> {
  const { rows } = await stack.db.admin.query("select last_value from public.attempts");
  return Number(rows[0].last_value);
}

const adjust = async () => {
  const user = await stack.user();
  return await stack.ask("admin-adjust", {
    caller: admin,
    body: { userId: user.id, delta: 5, idempotencyKey: "k", metadata: { note: "from a user" } },
  });
};

test.each(["40001", "40P01"])(
  "a lost race (%s) is run again, up to three times, and then succeeds once",
  async (sqlstate) => {
    await failing(3 * MAX_RUNS, `raise exception 'could not serialize' using errcode = '${sqlstate}';`);
    const answer = await adjust();
    expect([answer.status, answer.body.tokens_remaining, answer.headers.get("idempotency-replayed")]).toEqual(
      [200, 5, null],
    );
    expect(await attempts()).toBe(3 * MAX_RUNS + 1);
  },
);

test("a race that is lost four times is 503 with Retry-After", async () => {
  await failing(99, "raise exception 'could not serialize' using errcode = '40001';");
  const answer = await adjust();
  expectProblem(answer, "busy");
  expect(answer.headers.get("retry-after")).toBe("1");
  expect(await attempts()).toBe(4 * MAX_RUNS);
});

test.each([
  "raise exception 'secret detail of %', p_user_id;",
  "raise exception 'forbidden';",
  "raise exception 'no_such_slug' using errcode = 'PT404', detail = '{\"field\": \"p_user_id\"}';",
  "perform 1 / 0;",
  "perform * from public.missing_table;",
  "raise exception 'x' using errcode = '23505';",
  "raise exception 'x' using errcode = '57014';",
])("what nobody has foreseen is 500 with the request's id only, once: %s", async (raise) => {
  await failing(99, raise);
  const answer = await adjust();
  expectProblem(answer, "internal_error");
  expect(Object.keys(answer.body).toSorted()).toEqual([
    "code",
    "detail",
    "instance",
    "retryable",
    "status",
    "title",
    "type",
  ]);
  expect(await attempts()).toBe(1);
  const id = answer.body.instance.slice("urn:uuid:".length) as string;
  await expect.poll(() => stack.log.find((line) => line.includes(id))).toContain("SQL ");
  expect(stack.log.join("\n")).not.toMatch(/from a user|sb_secret|eyJ/);
});

test("an account that is locked for long is 503, to be tried again with the same key", async () => {
  await failing(0, "");
  const user = await stack.user();
  const body = { userId: user.id, delta: 5, idempotencyKey: "k" };
  await stack.ask("admin-adjust", { caller: admin, body: { userId: user.id, delta: 1 } });
  const other = new Client({ connectionString: stack.db.url("postgres") });
  await other.connect();
  try {
    await other.query("begin");
    await other.query("select from public.token_accounts where user_id = $1 for update", [user.id]);
    const answer = await stack.ask("admin-adjust", { caller: admin, body });
    expectProblem(answer, "busy");
    expect(answer.headers.get("retry-after")).toBe("1");
  } finally {
    await other.end();
  }
  expect(await stack.ask("admin-adjust", { caller: admin, body })).toMatchObject({
    status: 200,
    body: { tokens_remaining: 6 },
  });
});
