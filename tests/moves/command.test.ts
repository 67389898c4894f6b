/** `tokenbook move`: what it asks for, what it says, and how it ends. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { grant } from "../support/books.ts";
import { run, runHere } from "../support/command.ts";
import type { Database } from "../support/database.ts";
import { asService, createUser, rpc } from "../support/roles.ts";
import { createProjects, moveUser, type Projects } from "./two-projects.ts";

let projects: Projects;
let user: string;
const move = (...args: string[]) =>
  runHere("move", [...args, "--db-url", projects.from.url("postgres"), "--to", projects.to.url("postgres")]);

/** A pack of the catalogue, which has these tokens. */
const setPack = (db: Database, tokens: number) =>
  db.admin.query(
    `insert into public.token_packs (pack_type, name, tokens, price_cents) values ('big', 'Big', $1, 900)
     on conflict (pack_type) do update set tokens = excluded.tokens`,
    [tokens],
  );

async function stateOf(db: Database, id: string): Promise<string | undefined> {
  const { rows } = await db.admin.query("select state from public.token_accounts where user_id = $1", [id]);
  return rows[0]?.state;
}

beforeAll(async () => {
  projects = await createProjects();
  user = await createUser(projects.from, { email: "alice@example.com" });
  await grant(projects.from, user, 1_000, { key: "given" });
  for (let nth = 0; nth < 40; nth++) {
    await asService(projects.from, (client) =>
      rpc(client, "deduct_tokens_with_fifo", {
        p_user_id: user,
        p_tokens_to_deduct: 3,
        p_idempotency_key: `call-${nth}`,
      }),
    );
  }
});
afterAll(() => projects.drop());

test("moves nobody while the catalogues differ, says in what, and copies what is not there", async () => {
  await setPack(projects.from, 9_000);
  await asService(projects.from, async (client) => {
    await rpc(client, "set_token_alert_rule", { p_rule: "low", p_kind: "depleted", p_for_everyone: true });
    await rpc(client, "set_token_burn_order", { p_burn_order: "expiring_first" });
  });
  const refused = await move(user, "--name", "eu-2", "--yes");
  expect(refused.status).toBe(1);
  expect(refused.stderr).toMatch(/token_packs big: only in the project that they are in/);
  const copied = await move("--settings", "--yes", "--json");
  expect(copied.status).toBe(0);
  expect(JSON.parse(copied.stdout)).toEqual({
    copied: { token_packs: 1, token_alert_rules: 1, "tokenbook.burn_orders": 1 },
    differences: [],
  });
  const { rows } = await projects.to.admin.query("select is_expiring_first from tokenbook.project_settings");
  expect(rows).toEqual([{ is_expiring_first: true }]);

  await setPack(projects.to, 9_001);
  const differs = await move("--settings", "--yes");
  expect(differs.status).toBe(1);
  expect(differs.stdout).toMatch(/token_packs big: tokens\n.*say which is right with the functions/);
  await setPack(projects.to, 9_000);
});

test("what only the other project has is copied from there, as is said", async () => {
  await setPack(projects.from, 9_000);
  await setPack(projects.to, 9_000);
  const small = (db: Database, name: string) =>
    db.admin.query(
      "insert into public.token_packs (pack_type, name, tokens, price_cents) values ($1, $1, 100, 100)",
      [name],
    );
  await small(projects.from, "small");
  await small(projects.to, "tiny");
  const there = await move("--settings", "--yes");
  expect(there.status).toBe(1);
  expect(there.stdout).toContain("token_packs tiny: only in the project that they go to");
  expect(there.stdout).toContain("npx tokenbook move --settings in that project, with --to this one");
  expect(there.stdout).not.toContain("with the functions");
  const [from, to] = [projects.from.url("postgres"), projects.to.url("postgres")];
  const back = await runHere("move", ["--settings", "--yes", "--json", "--db-url", to, "--to", from]);
  expect(JSON.parse(back.stdout)).toEqual({ copied: { token_packs: 1 }, differences: [] });
});

test("refuses as the other project the one that the books are in, by whatever name", async () => {
  const here = new URL(projects.from.url("postgres"));
  here.hostname = here.hostname === "localhost" ? "127.0.0.1" : "localhost";
  const args = ["--db-url", projects.from.url("postgres"), "--to", here.href];
  for (const what of [
    [user, "--name", "eu-2", "--yes"],
    ["--settings", "--yes"],
  ]) {
    const same = await runHere("move", [...what, ...args]);
    expect([same.status, same.stderr]).toEqual([
      1,
      expect.stringContaining("is the database that the books are in"),
    ]);
  }
  expect(await stateOf(projects.from, user)).toBe("active");
});

test("closes nothing here that the other project would refuse, and says so", async () => {
  const id = await createUser(projects.from);
  await grant(projects.from, id, 1_000, { key: "given" });
  await projects.to.admin.query(
    "insert into auth.users (id, aud, role, email) values ($1, 'authenticated', 'authenticated', $2)",
    [id, `${id}@example.com`],
  );
  await grant(projects.to, id, 5, { key: "there" });
  const refused = await move(id, "--name", "eu-2", "--yes");
  expect(refused.status).toBe(1);
  expect(refused.stderr).toMatch(/A move asks for users who have no books there. Nothing was changed\./);
  expect(await stateOf(projects.from, id)).toBe("active");
});

test("what fails when the books are closed says how to go on and how to take them back", async () => {
  const id = await createUser(projects.from);
  await grant(projects.from, id, 1_000, { key: "given" });
  await moveUser(projects, id, { until: "locked" });
  const doctor = await runHere("doctor", ["--db-url", projects.from.url("postgres")]);
  expect(doctor.stdout).toMatch(
    new RegExp(
      `ok +moves: the books of ${id} are closed since .* to eu-2: npx tokenbook move ${id} .*--cancel`,
    ),
  );
  await projects.from.admin.query(
    "update tokenbook.moves set started_at = started_at - interval '1 hour' where user_id = $1",
    [id],
  );
  const late = await runHere("doctor", ["--db-url", projects.from.url("postgres")]);
  expect(late.stdout).toMatch(/warning +moves: the books of/);

  await projects.to.admin.query(
    "insert into tokenbook.code_attempts (user_id, failures, since) values ($1, 1, now())",
    [id],
  );
  const stopped = await move(id, "--name", "eu-2");
  expect(stopped.status).toBe(1);
  expect(stopped.stderr).toContain("there is something in tokenbook.code_attempts");
  expect(stopped.stderr).toContain(`npx tokenbook move ${id} --to … --cancel`);
  expect((await move(id, "--cancel")).status).toBe(0);
  expect(await stateOf(projects.from, id)).toBe("active");
});

test("asks for a name that is no address, and for a team to go whole", async () => {
  expect((await move(user, "--yes")).stderr).toMatch(/--name/);
  expect((await move(user, "--yes", "--name", "postgresql://postgres:secret@db")).stderr).toMatch(
    /never an address/,
  );
  const payer = await createUser(projects.from);
  await grant(projects.from, payer, 5, { key: "given" });
  const member = await createUser(projects.from);
  await asService(projects.from, (client) =>
    rpc(client, "add_token_team_member", { p_user_id: payer, p_member_id: member }),
  );
  const alone = await move(member, "--name", "eu-2", "--yes");
  expect(alone.status).toBe(1);
  expect(alone.stderr).toContain(payer);
  const whole = await move(member, "--name", "eu-2", "--yes", "--team", "--json");
  expect(JSON.parse(whole.stdout).user_ids).toEqual([member, payer].toSorted());
});

test("says each step, the proof and that the books are right; again, that it was done", async () => {
  const { status, stdout } = await move("alice@example.com", "--name", "eu-2", "--yes");
  expect(status).toBe(0);
  expect(stdout).toMatch(/1 of 4.*2 of 4.*3 of 4.*4 of 4/s);
  expect(stdout).toMatch(/token_transactions +41 /);
  expect(stdout).toMatch(/keys +41 /);
  expect(stdout).toMatch(/verify_token_ledger: nothing here, nothing there/);
  const again = await move(user, "--name", "eu-2", "--yes");
  expect(again.status).toBe(0);
  expect(again.stdout).toMatch(/have been moved to eu-2/);
  const cancelled = await move(user, "--cancel");
  expect(cancelled.status).toBe(1);
  expect(cancelled.stderr).toMatch(/in use in eu-2/);
});

test("a taking back that was stopped half-way is ended by the same command", async () => {
  const id = await createUser(projects.from);
  await grant(projects.from, id, 1_000, { key: "given" });
  await moveUser(projects, id, { until: "copied" });
  await projects.from.admin.query(
    "select tokenbook.take_move_back(id) from tokenbook.moves where user_id = $1",
    [id],
  );
  const taken = await move(id, "--cancel");
  expect(taken.stdout).toMatch(/The move to eu-2 is taken back: 1 user as before/);
  const { rows } = await projects.to.admin.query("select from public.token_accounts where user_id = $1", [
    id,
  ]);
  expect(rows).toEqual([]);
  const again = await move(id, "--cancel");
  expect(again.stderr).toMatch(/No move of .* is under way: their account is active/);
});

test("the other database's address, in the environment, is in no help; an empty one is refused", async () => {
  const to = "postgres://postgres:a-password@db.example.com/postgres";
  const help = await run("move", ["--help"], { TOKENBOOK_MOVE_TO: to });
  expect(help.stdout).toContain("TOKENBOOK_MOVE_TO");
  expect(help.stdout + help.stderr).not.toContain("a-password");
  const empty = await run("move", [user, "--db-url", projects.from.url("postgres")], {
    TOKENBOOK_MOVE_TO: "",
  });
  expect([empty.status, empty.stderr]).toEqual([2, expect.stringContaining("is empty")]);
});
