import { newDb } from "pg-mem";
import type { IMemoryDb } from "pg-mem";
import type { SqlClient } from "../../packages/tokenbook/src/data/client.ts";

/** A database in memory, for plain SQL only: it knows no plpgsql, no rights and no locks. */
export interface MemoryDatabase {
  client: SqlClient;
  memory: IMemoryDb;
}

/** The tables that the scripts' data access reads and writes, empty. */
export async function createMemoryDatabase(): Promise<MemoryDatabase> {
  const memory = newDb();
  memory.createSchema("auth");
  memory.createSchema("tokenbook");
  memory.public.none(`
    create table auth.users (id uuid primary key, email text, raw_app_meta_data jsonb, updated_at timestamptz);
    create table tokenbook.admins (user_id uuid primary key, added_at timestamptz not null default now(), added_by text not null, replaced_role jsonb);
    create table tokenbook.migration_reports (id integer primary key, migration text not null, report text not null);
  `);
  const { Client } = memory.adapters.createPg();
  const client = new Client();
  await client.connect();
  return { client, memory };
}
