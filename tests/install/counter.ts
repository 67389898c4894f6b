/** A project with a counter of its own, beside the books. */
import { randomUUID } from "node:crypto";
import pg from "pg";
import { expect } from "vitest";
import { expectCleanBooks } from "../support/books.ts";
import { type Finished, runHere, start } from "../support/command.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { createUser } from "../support/roles.ts";

/** `public.profiles.credits`, of which one is ten tokens. */
export interface CountedProject {
  db: Database;
  /** Each has 100 credits. */
  users: string[];
  /** Runs `tokenbook <name>` on it, in this process: one at a time. */
  tokenbook(name: string, ...args: string[]): Promise<Finished>;
  start(name: string, ...args: string[]): ReturnType<typeof start>;
  /** What it says with --json, and its status. */
  // oxlint-disable-next-line typescript/no-explicit-any
  json(name: string, ...args: string[]): Promise<any>;
  /** Imports it, and begins to follow it. */
  follow(): Promise<void>;
  credits(user: string): Promise<number>;
  /** What the books have, less what is owed. */
  net(user: string): Promise<number>;
  /** Asks everything that can be asked of the books, and goes. */
  end(): Promise<void>;
}

export const from = ["--from", "profiles.credits"];

export async function startCounting(count: number, mutant?: string): Promise<CountedProject> {
  const db = await createDatabase();
  if (mutant !== undefined) await applyMutant(db, mutant);
  const users = await Promise.all(Array.from({ length: count }, () => createUser(db)));
  users.sort();
  await db.admin.query(`
    create table public.profiles (id uuid primary key, full_name text, credits numeric(12, 3) default 0);
    alter table public.profiles enable row level security;
    create policy "own" on public.profiles for select using (auth.uid() = id);
    create policy "own, written" on public.profiles for update using (auth.uid() = id);
    grant select, insert, update, delete on public.profiles to anon, authenticated, service_role;
    create function public.take_credits(p_user uuid, p_credits numeric) returns numeric
      language sql security definer set search_path = public as
      'update profiles set credits = credits - p_credits where id = p_user returning credits';`);
  await db.admin.query(
    "insert into public.profiles (id, credits) select id, 100 from unnest($1::uuid[]) id",
    [users],
  );
  const project: CountedProject = {
    db,
    users,
    tokenbook: (name, ...args) => runHere(name, [...args, "--db-url", db.url()]),
    start: (name, ...args) => start(name, [...args, "--db-url", db.url()]),
    async json(name, ...args) {
      const said = await project.tokenbook(name, ...args, "--json");
      expect(said).toMatchObject({ stderr: "" });
      return { status: said.status, ...JSON.parse(said.stdout) };
    },
    async follow() {
      expect(await project.tokenbook("import", ...from, "--times", "10", "--book")).toMatchObject({
        status: 0,
      });
      expect(await project.json("shadow", ...from, "--start")).toMatchObject({ status: 0, differing: 0 });
    },
    async credits(user) {
      const { rows } = await db.admin.query("select credits from public.profiles where id = $1", [user]);
      return Number(rows[0].credits);
    },
    async net(user) {
      const { rows } = await db.admin.query(
        "select tokens_remaining - tokens_owed as net from public.token_accounts where user_id = $1",
        [user],
      );
      return Number(rows[0].net);
    },
    async end() {
      const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
      const discrepancies = await db.admin.query("select * from public.find_token_discrepancies(0)");
      await expectCleanBooks(db);
      await db.drop();
      expect([rows, discrepancies.rows]).toEqual([[], []]);
    },
  };
  return project;
}

/** As the role that runs the server. */
export async function connectAsPlatform(db: Database): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: db.url("supabase_admin") });
  await client.connect();
  return client;
}

/**
 * A role that has what postgres has, but sees no more rows than a policy shows it: as a team makes one for its CI.
 *
 * @returns how to connect as it, what to run a command with, and what takes it away again.
 */
export async function asDeployer(db: Database, name = `deployer_${randomUUID().slice(0, 8)}`) {
  const admin = await connectAsPlatform(db);
  await admin.query(`create role ${name} login password 'postgres' in role postgres`);
  return {
    name,
    run: (command: string, ...args: string[]) => runHere(command, [...args, "--db-url", db.url(name)]),
    /** In the place of postgres, another role's rights. */
    async become(other: string) {
      await admin.query(
        `revoke postgres from ${name}; ${other === "none" ? "" : `grant ${other} to ${name}`}`,
      );
    },
    async drop() {
      await admin.query(`drop owned by ${name}; drop role ${name}`);
      await admin.end();
    },
  };
}
