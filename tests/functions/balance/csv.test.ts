import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { parse } from "csv-parse/sync";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { grant } from "../../support/books.ts";
import { writeLongLedger } from "../../support/long-ledger.ts";
import { asAdmin, asService, asUser, rpc } from "../../support/roles.ts";
import { expectProblem, withoutInstance } from "../problem.ts";
import { ledgerCsv } from "../../../supabase/functions/balance/ledger-csv.ts";
import { startStack, type Caller, type Fault, type Stack } from "../stack.ts";

/** Too little for a long ledger in memory, and plenty for the function. */
const smallHeap = { DENO_V8_FLAGS: "--max-old-space-size=48" };

let stack: Stack;
let admin: Caller & { id: string };

beforeAll(async () => {
  stack = await startStack(smallHeap);
  admin = await stack.user({ admin: true });
});
afterAll(() => stack.close());

const csv = (caller: Caller, query = "", accept = "text/csv") =>
  stack.ask("balance", { caller, query, headers: { accept } });

/** Lines as objects by the header's names; every value a text, as it stands in the file. */
const linesOf = (text: string): Record<string, string>[] =>
  parse(text, { columns: true, record_delimiter: "\r\n" });

const sum = (lines: Record<string, string>[]) =>
  lines.reduce((total, { tokens }) => total + Number(tokens), 0);

/** A user with a grant that ran out, one that did not, a deduction from both and a correction. */
async function spender() {
  const user = await stack.user();
  const [trial, pack] = [
    await grant(stack.db, user.id, 100, { type: "trial", expires_in: "1 second", key: "trial" }),
    await grant(stack.db, user.id, 500),
  ];
  await asUser(stack.db, user.id, (client) =>
    rpc(client, "deduct_tokens_with_fifo", {
      p_user_id: user.id,
      p_tokens_to_deduct: 130,
      p_action_type: "chat_conversation",
      p_idempotency_key: "request-1",
    }),
  );
  await asAdmin(stack.db, admin.id, (client) =>
    rpc(client, "adjust_tokens", { p_user_id: user.id, p_delta: -20, p_reason: 'ticket 7, "late"' }),
  );
  return { ...user, trial, pack };
}

describe("the file", () => {
  test("has every transaction, newest first, with balance, reason, actor and grants", async () => {
    const user = await spender();
    const answer = await csv(user);

    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("text/csv; charset=utf-8");
    expect(answer.headers.get("content-disposition")).toBe(
      `attachment; filename="token-ledger-${user.id}.csv"`,
    );
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(answer.text.split("\r\n")[0]).toBe(
      "number,created_at,entry_type,action_type,tokens,reserved_change,balance_after,reason,actor_role,actor_id,idempotency_key,grants",
    );
    const at = expect.stringMatching(/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$/);
    const line = (number: number, entry: string, action: string, tokens: number, after: number) => ({
      number: `${number}`,
      created_at: at,
      entry_type: entry,
      action_type: action,
      tokens: `${tokens}`,
      reserved_change: "0",
      balance_after: `${after}`,
    });
    expect(linesOf(answer.text)).toEqual([
      {
        ...line(4, "deduction", "admin_deduct", -20, 450),
        reason: 'ticket 7, "late"',
        actor_role: "admin",
        actor_id: admin.id,
        idempotency_key: "",
        grants: `20 from ${user.pack}`,
      },
      {
        ...line(3, "deduction", "chat_conversation", -130, 470),
        reason: "chat_conversation",
        actor_role: "user",
        actor_id: user.id,
        idempotency_key: "request-1",
        grants: `100 from ${user.trial}; 30 from ${user.pack}`,
      },
      {
        ...line(2, "grant", "token_pack_purchase", 500, 600),
        reason: "",
        actor_role: "service",
        actor_id: "",
        idempotency_key: "",
        grants: `500 to ${user.pack}`,
      },
      {
        ...line(1, "grant", "trial_grant", 100, 100),
        reason: "",
        actor_role: "service",
        actor_id: "",
        idempotency_key: "trial",
        grants: `100 to ${user.trial}`,
      },
    ]);
  });

  test("says what holds set aside, and adds up with them", async () => {
    const user = await stack.user();
    const pack = await grant(stack.db, user.id, 100);
    const asHimself = (name: string, args: object) =>
      asUser(stack.db, user.id, (client) => rpc(client, name, { p_user_id: user.id, ...args }));
    const { hold_id } = await asHimself("reserve_tokens", { p_tokens: 40 });
    await asHimself("capture_tokens", { p_hold_id: hold_id, p_tokens: 30 });
    await asHimself("reserve_tokens", { p_tokens: 5 });

    const lines = linesOf((await csv(user)).text);

    expect(
      lines.map((it) => [
        it["entry_type"],
        it["tokens"],
        it["reserved_change"],
        it["balance_after"],
        it["grants"],
      ]),
    ).toEqual([
      ["hold", "0", "5", "65", `5 from ${pack}`],
      ["release", "0", "-10", "70", `10 to ${pack}`],
      ["deduction", "-30", "-30", "60", `30 held of ${pack}`],
      ["hold", "0", "40", "60", `40 from ${pack}`],
      ["grant", "100", "0", "100", `100 to ${pack}`],
    ]);
    expect(sum(lines)).toBe(70); // 65 to spend, 5 set aside
  });

  test("is only its header for a user who never had a token", async () => {
    const { text, status } = await csv(await stack.user());
    expect([status, text.endsWith(",grants\r\n"), text.split("\r\n").length]).toEqual([200, true, 2]);
  });

  test("is in UTC, whatever the database's time zone, to the microsecond", async () => {
    const user = await spender();
    const { rows } = await stack.db.admin.query(
      `select to_char(created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US') as at
         from public.token_transactions where user_id = $1 order by id desc`,
      [user.id],
    );
    const elsewhere = await stack.db.admin.connect();
    await elsewhere.query("set timezone to 'Asia/Kathmandu'");
    const moments: unknown[] = [];
    let text = "";
    const pages = ledgerCsv(async () => {
      const answer = await elsewhere.query("select public.get_token_history($1) as page", [user.id]);
      moments.push(answer.rows[0].page.transactions[0].created_at);
      return answer.rows[0].page;
    });
    for await (const page of pages) text += page.text;
    elsewhere.release(true);

    expect(moments).toEqual([expect.stringContaining("+05:45")]);
    expect(linesOf(text).map((it) => it["created_at"])).toEqual(
      rows.map((row) => `${row.at.replace(/\.?0+$/, "")}Z`),
    );
    expect((await csv(user)).text).toBe(text);
  });

  test("leaves out what was before the books, so that its tokens add up to the balance", async () => {
    const user = await spender();
    await stack.db.admin.query(
      `insert into public.token_legacy_transactions (user_id, id, legacy_id, action_type, tokens, metadata, created_at)
       select $1, 1 - n, n::text, 'old', 5, '{}', now() - interval '1 year' from generate_series(1, 300) n`,
      [user.id],
    );
    const lines = linesOf((await csv(user)).text);
    const { rows } = await stack.db.admin.query(
      "select tokens_remaining + tokens_reserved as balance from public.token_accounts where user_id = $1",
      [user.id],
    );
    expect([lines.length, sum(lines)]).toEqual([4, Number(rows[0].balance)]);
  });
});

describe("what users wrote", () => {
  const formulas = [
    '=HYPERLINK("https://example.com","pay")',
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "＝1+1",
  ];
  const texts = [
    "plain",
    'said "no", twice',
    "line\nline\r\nline",
    "a, b; c",
    "Ümläut, 漢字, 🎟️",
    "  spaces  ",
    "'=1",
    "5 - 3 = 2",
    "\n=1",
    "x".repeat(500),
  ];

  test("comes back as it was, and nothing in it is a formula; numbers stay numbers", async () => {
    const user = await stack.user();
    await grant(stack.db, user.id, 1_000);
    for (const reason of [...formulas, ...texts]) {
      await asService(stack.db, (client) =>
        rpc(client, "adjust_tokens", { p_user_id: user.id, p_delta: -1, p_reason: reason }),
      );
    }

    const lines = linesOf((await csv(user)).text)
      .toReversed()
      .slice(1);

    expect(lines.map((it) => it["reason"])).toEqual([...formulas.map((it) => `'${it}`), ...texts]);
    expect(new Set(lines.map((it) => it["tokens"]))).toEqual(new Set(["-1"]));
    const cells = lines.flatMap((it) => Object.values(it)).filter((cell) => /^[=+@\t\r＝＋－＠-]/.test(cell));
    expect(new Set(cells)).toEqual(new Set(["-1"]));
    console.log(`reasons=${lines.length} formulas=${formulas.length} made harmless=${formulas.length}`);
  });
});

describe("who gets it", () => {
  test("the user, an admin and the server: the same file", async () => {
    const user = await spender();
    const own = (await csv(user)).text;
    for (const caller of [user, admin, stack.server]) {
      expect((await csv(caller, `userId=${user.id}`)).text).toBe(own);
    }
  });

  test("another user is refused, the same whether that one exists or not", async () => {
    const user = await stack.user();
    const existing = await csv(user, `userId=${(await spender()).id}`);
    const missing = await csv(user, `userId=${randomUUID()}`);
    expectProblem(existing, "forbidden");
    expect(existing.headers.get("content-disposition")).toBeNull();
    expect(withoutInstance(existing)).toEqual(withoutInstance(missing));
  });

  test("a refusal is a problem, not a file", async () => {
    expectProblem(await csv({ headers: {} }), "not_authenticated");
    expectProblem(await csv(stack.server), "invalid_user_id", { field: "userId" });
    expectProblem(await csv(admin, `userId=${randomUUID()}`), "user_not_found");
    expectProblem(await csv(admin, "userId=me"), "invalid_user_id", { field: "userId" });
    for (const field of ["limit", "before"]) {
      expectProblem(await csv(admin, `${field}=5`), "invalid_page", {
        field,
        rule: "left out for text/csv, which has every transaction",
      });
    }
  });
});

describe("which form is sent", () => {
  test.each([
    ["text/csv", "csv"],
    ["TEXT/CSV", "csv"],
    ["text/csv; charset=utf-8", "csv"],
    ["text/*", "csv"],
    ["text/csv, application/json;q=0.9", "csv"],
    ["application/json;q=0.1, text/csv;q=0.2", "csv"],
    ["*/*;q=0.1, text/csv", "csv"],
    ["application/json;q=0, */*", "csv"],
    ["application/json, text/csv;q=0.9", "json"],
    ["application/json", "json"],
    ["*/*", "json"],
    ["", "json"],
    ["text/csv;q=0, */*", "json"],
    ["text/csv;q=0", "json"],
    ["text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", "json"],
    ["text/html", "json"],
    [";;,/, text", "json"],
  ])("Accept: %s is %s", async (accept, form) => {
    const answer = await csv(await stack.user(), "", accept);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toContain(form === "csv" ? "text/csv" : "application/json");
  });
});

describe("a long ledger", { tags: ["proof"] }, () => {
  /** 56 MB as the function reads it: few requests of much. A hundred thousand rows are written by `npm run export`. */
  const length = 7_000;
  const much = { padding: 8_000 };

  test("is sent in bounded memory, whole, and without what is booked meanwhile", async () => {
    const user = await stack.user();
    await writeLongLedger(stack.db, user.id, length, much);

    const begin = performance.now();
    const response = await open(stack, user);
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = (await reader.read()).value!;
    const booked = await asUser(stack.db, user.id, (client) =>
      rpc(client, "deduct_tokens_with_fifo", { p_user_id: user.id, p_tokens_to_deduct: 7 }),
    );
    for (let read = await reader.read(); !read.done; read = await reader.read()) text += read.value;
    const seconds = (performance.now() - begin) / 1000;

    const lines = linesOf(text);
    console.log(`rows=${lines.length} bytes=${text.length} seconds=${seconds.toFixed(1)} heap<=48 MB`);
    expect(booked.transaction_id).toBe(length + 2);
    expect(lines.map((it) => Number(it["number"]))).toEqual(
      Array.from({ length: length + 1 }, (_, i) => length + 1 - i),
    );
    expect(sum(lines)).toBe(1_000);
    expect(lines[0]!["balance_after"]).toBe("1000");
  }, 120_000);

  test("is not read on when nobody takes it", async () => {
    const user = await stack.user();
    const [rows, inAPage] = [100_000, 200]; // more than sockets take in for somebody who reads no more
    await writeLongLedger(stack.db, user.id, rows);
    const pages = async () =>
      Number((await stack.db.admin.query("select last_value from public.pages")).rows[0].last_value);
    await stack.db.admin.query(
      "create sequence public.pages; grant usage on sequence public.pages to authenticated",
    );
    await replaceHistory(stack, "perform nextval('public.pages');");

    const aborted = new AbortController();
    const response = await open(stack, user, aborted.signal);
    const { value } = await response.body!.getReader().read();
    expect(new TextDecoder().decode(value)).toMatch(/^number,/);
    aborted.abort();
    let [read, before] = [await pages(), -1];
    while (read !== before) {
      before = read;
      await sleep(300);
      read = await pages();
    }

    console.log(`pages read for a caller who left: ${read} of ${rows / inAPage}`);
    expect(read).toBeLessThan(rows / inAPage / 2);
  }, 60_000);

  test(
    "the test sees it: a function that keeps what it has sent runs out of memory on the way",
    { tags: ["proof"], timeout: 120_000 },
    async () => {
      const hoards: Fault = {
        file: "balance/ledger-csv.ts",
        right: "before = page.next_before;",
        wrong: "(globalThis.kept ??= []).push(page); before = page.next_before;",
      };
      const bad = await startStack(smallHeap, hoards);
      try {
        const user = await bad.user();
        await writeLongLedger(bad.db, user.id, length, much);
        const sent = await readLines(await open(bad, user));
        console.log(
          `a function that hoards: rows=${sent.lines} of ${length + 1}, taken for whole=${sent.wasWhole}`,
        );
        expect(sent.wasWhole).toBe(false);
        expect(bad.log.join("\n")).toContain("out of memory");
      } finally {
        await bad.close();
      }
    },
  );
});

describe("an error on the way", () => {
  const failing = "if p_before < 500 then raise exception 'disk on fire'; end if;";

  /** What a caller gets of a ledger of 1,001 whose last pages cannot be read. */
  async function readUntilItFails(at: Stack): Promise<{ lines: number; wasWhole: boolean }> {
    const user = await at.user();
    await writeLongLedger(at.db, user.id, 1_000);
    await replaceHistory(at, failing);
    const response = await open(at, user);
    expect(response.status).toBe(200);
    return await readLines(response);
  }

  test("breaks the connection off, so that nobody takes half a file for a whole one; the log has the cause", async () => {
    const own = await startStack();
    try {
      const outcome = await readUntilItFails(own);
      console.log(`broken off: lines=${outcome.lines} of 1001, taken for whole=${outcome.wasWhole}`);
      expect(outcome.wasWhole).toBe(false);
      expect(own.log.join("\n")).toMatch(/token-ledger-.*\.csv broken off: .*disk on fire/);
    } finally {
      await own.close();
    }
  });

  test(
    "the test sees it: a function that ends the file there passes half of it for a whole one",
    { tags: ["proof"] },
    async () => {
      const quiet = await startStack({}, { file: "balance/csv-file.ts", right: "throw error;", wrong: "" });
      try {
        const outcome = await readUntilItFails(quiet);
        expect(outcome.wasWhole).toBe(true);
        expect(outcome.lines).toBeLessThan(1_001);
      } finally {
        await quiet.close();
      }
    },
  );
});

async function open(at: Stack, caller: Caller, signal?: AbortSignal): Promise<Response> {
  return await fetch(`${at.url}/functions/v1/balance`, {
    headers: { ...caller.headers, accept: "text/csv" },
    ...(signal && { signal }),
  });
}

/** How many transactions came, and whether the file ended as whole ones do. */
async function readLines(response: Response): Promise<{ lines: number; wasWhole: boolean }> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let wasWhole = true;
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) text += read.value;
  } catch {
    wasWhole = false;
  }
  return { lines: text.split("\r\n").length - 2, wasWhole };
}

/** Lets something happen before each page. */
async function replaceHistory(at: Stack, first: string): Promise<void> {
  await at.db.admin.query(`
    create or replace function public.get_token_history(
      p_user_id uuid default tokenbook.caller_id(), p_limit integer default 50, p_before bigint default null)
    returns jsonb language plpgsql volatile security invoker set search_path = '' as $$
    begin
      ${first}
      return tokenbook.get_token_history(p_user_id, p_limit, p_before);
    end $$`);
}
