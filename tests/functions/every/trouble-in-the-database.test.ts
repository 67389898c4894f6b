import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { Client } from "pg";
// So often the API runs a lost race by itself before it gives up; PostgREST never does.
import { MAX_RUNS } from "local-platform/rest/database";
import { withShortLockWaits } from "../../support/time.ts";
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

/**
 * Makes each of the first `times` runs of adjust_tokens fail in that way; the ones after it work.
 */
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

/** A race that is lost, and a lock that is not got: it is the account, or its neighbours, that are busy. */
const lostToOthers = ["40001", "40P01", "55P03"];

/** What the database says when it cannot do it now: cancelled, shut down, starting, out of something, not reached. */
const notNow = [
  "57014",
  "57P01",
  "57P02",
  "57P03",
  "53000",
  "53100",
  "53200",
  "53300",
  "53400",
  "08000",
  "08006",
];

test.each([
  ...lostToOthers.map((sqlstate) => [sqlstate, "busy"] as const),
  ...notNow.map((sqlstate) => [sqlstate, "unavailable"] as const),
])("SQLSTATE %s is 503 with Retry-After, worth sending again with the same key", async (sqlstate, slug) => {
  await failing(99, `raise exception 'secret detail' using errcode = '${sqlstate}';`);
  const answer = await adjust();
  expect(answer.status).toBe(503);
  expectProblem(answer, slug, { retryable: true });
  expect(answer.headers.get("retry-after")).toBe("1");
  // The API itself runs a lost race again. The function sends nothing a second time.
  expect(await attempts()).toBe(["40001", "40P01"].includes(sqlstate) ? MAX_RUNS : 1);
  const id = answer.body.instance.slice("urn:uuid:".length) as string;
  await expect.poll(() => stack.log.find((line) => line.includes(id))).toContain(`SQL ${sqlstate}`);
});

test("a read that fails is answered at once, and not after the client's own tries", async () => {
  await stack.db.admin.query(`
    create function public.token_reads_fail() returns boolean language plpgsql volatile set search_path = '' as $$
    begin
      raise exception 'x' using errcode = '53300';
    end $$;
    create policy planted on public.token_plans as restrictive for select to anon using (public.token_reads_fail())`);
  try {
    const begin = performance.now();
    const answer = await stack.ask("plans");
    expectProblem(answer, "unavailable", { retryable: true });
    expect(performance.now() - begin).toBeLessThan(2_000); // its own tries take seven seconds
  } finally {
    await stack.db.admin.query(
      "drop policy planted on public.token_plans; drop function public.token_reads_fail()",
    );
  }
});

test.each([
  ["503", "PGRST002"],
  ["504", "PGRST003"],
  ["502", "none of its own"],
])("an answer %s %s of the data API is 503 with Retry-After", async (status, code) => {
  const detail = `{"status": ${status}, "headers": {}}`;
  await failing(
    99,
    `raise sqlstate 'PGRST' using message = '{"code": "${code}", "message": "x"}', detail = '${detail}';`,
  );
  const answer = await adjust();
  expect(answer.status).toBe(503);
  expectProblem(answer, "unavailable", { retryable: true });
});

test.each([
  "raise exception 'secret detail of %', p_user_id;",
  "raise exception 'forbidden';",
  "raise exception 'no_such_slug' using errcode = 'PT404', detail = '{\"field\": \"p_user_id\"}';",
  "perform 1 / 0;",
  "perform * from public.missing_table;",
  "raise exception 'x' using errcode = '23505';",
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
    const answer = await withShortLockWaits(stack.db, () =>
      stack.ask("admin-adjust", { caller: admin, body }),
    );
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
