import { beforeEach, expect, test } from "vitest";
import { addAdmin, HasOtherRole, listAdmins, removeAdmin } from "../../packages/tokenbook/src/data/admins.ts";
import type { SqlClient } from "../../packages/tokenbook/src/data/client.ts";
import { UserNotFound } from "../../packages/tokenbook/src/data/users.ts";
import { createMemoryDatabase } from "../support/memory-database.ts";
import type { MemoryDatabase } from "../support/memory-database.ts";

const alice = "a11ce000-0000-4000-8000-000000000001";
const bob = "b0b00000-0000-4000-8000-000000000002";
let db: MemoryDatabase;

beforeEach(async () => {
  db = await createMemoryDatabase();
  db.memory.public.none(`
    insert into auth.users values
      ('${alice}', 'Alice@Example.com', '{"provider": "email", "team": "red"}', null),
      ('${bob}', 'bob@example.com', null, null)`);
});

const metadataOf = (id: string) =>
  db.memory.public.one(`select raw_app_meta_data from auth.users where id = '${id}'`).raw_app_meta_data;

test("a user becomes an administrator in both places, whatever the case of the address", async () => {
  expect(await addAdmin(db.client, "alice@example.COM", "test")).toEqual({
    userId: alice,
    changed: true,
    roleSet: true,
  });

  expect(metadataOf(alice)).toEqual({ provider: "email", team: "red", role: "admin" });
  expect(await listAdmins(db.client)).toEqual([
    { userId: alice, email: "Alice@Example.com", addedAt: expect.any(Date), addedBy: "test", hasRole: true },
  ]);
});

test("adding an administrator again changes nothing", async () => {
  await addAdmin(db.client, "bob@example.com", "first");

  expect(await addAdmin(db.client, "bob@example.com", "second")).toEqual({
    userId: bob,
    changed: false,
    roleSet: false,
  });
  expect((await listAdmins(db.client))[0]?.addedBy).toBe("first");
});

test("removing takes both halves away and leaves the rest of the metadata", async () => {
  await addAdmin(db.client, "alice@example.com", "test");

  expect(await removeAdmin(db.client, "alice@example.com")).toEqual({ userId: alice, changed: true });
  expect(metadataOf(alice)).toEqual({ provider: "email", team: "red" });
  expect(await listAdmins(db.client)).toEqual([]);
  expect(await removeAdmin(db.client, "alice@example.com")).toEqual({ userId: alice, changed: false });
});

const giveRole = (role: unknown) =>
  db.memory.public.none(
    `update auth.users set raw_app_meta_data = '${JSON.stringify({ team: "red", role })}' where id = '${bob}'`,
  );

test.each(["editor", ["editor", "author"]])(
  "a role of the app's is replaced only when that is asked for, and is put back: %s",
  async (role) => {
    giveRole(role);

    await expect(addAdmin(db.client, "bob@example.com", "test")).rejects.toThrow(HasOtherRole);
    expect([metadataOf(bob), await listAdmins(db.client)]).toEqual([{ team: "red", role }, []]);
    expect(await removeAdmin(db.client, "bob@example.com")).toEqual({ userId: bob, changed: false, role });
    await addAdmin(db.client, "bob@example.com", "test", { mayReplace: true });
    expect(metadataOf(bob)).toEqual({ team: "red", role: "admin" });
    await addAdmin(db.client, "bob@example.com", "test");
    expect(await removeAdmin(db.client, "bob@example.com")).toEqual({ userId: bob, changed: true, role });
    expect(metadataOf(bob)).toEqual({ team: "red", role });
  },
);

test("an admin of the app's own is none of ours until made one, and stays the app's afterwards", async () => {
  giveRole("admin");
  expect(await listAdmins(db.client)).toEqual([]);
  expect(await removeAdmin(db.client, "bob@example.com")).toMatchObject({ changed: false, role: "admin" });

  expect(await addAdmin(db.client, "bob@example.com", "test")).toMatchObject({
    changed: true,
    roleSet: false,
  });
  expect(await removeAdmin(db.client, "bob@example.com")).toMatchObject({ changed: true, role: "admin" });
  expect(metadataOf(bob)).toEqual({ team: "red", role: "admin" });
});

test("a role that the app gave since is not taken by removing, and is what is put back after adding again", async () => {
  await addAdmin(db.client, "bob@example.com", "test");
  giveRole("editor");

  expect(await listAdmins(db.client)).toMatchObject([{ hasRole: false, addedBy: "test" }]);
  await expect(addAdmin(db.client, "bob@example.com", "test")).rejects.toThrow("editor");
  await addAdmin(db.client, "bob@example.com", "test", { mayReplace: true });
  expect(await removeAdmin(db.client, "bob@example.com")).toMatchObject({ changed: true, role: "editor" });
  await addAdmin(db.client, "bob@example.com", "test", { mayReplace: true });
  giveRole("author");
  expect(await removeAdmin(db.client, "bob@example.com")).toMatchObject({ changed: true, role: "author" });
  expect(metadataOf(bob)).toEqual({ team: "red", role: "author" });
});

test("an admin who is gone from auth.users is listed as such, and removed by their id", async () => {
  const gone = "00000000-0000-4000-8000-00000000dead";
  db.memory.public.none(`insert into tokenbook.admins (user_id, added_by) values ('${gone}', 'long ago')`);

  expect(await listAdmins(db.client)).toEqual([
    expect.objectContaining({ email: null, hasRole: false, addedBy: "long ago" }),
  ]);
  expect(await removeAdmin(db.client, gone)).toMatchObject({ userId: gone, changed: true });
  expect(await listAdmins(db.client)).toEqual([]);
});

test("an address that nobody or more than one user has is refused, and nothing is written", async () => {
  db.memory.public.none(
    `insert into auth.users values (gen_random_uuid(), 'BOB@example.com', null, null)`.replace(
      "gen_random_uuid()",
      "'b0b00000-0000-4000-8000-000000000003'",
    ),
  );

  await expect(addAdmin(db.client, "nobody@example.com", "test")).rejects.toThrow(UserNotFound);
  await expect(addAdmin(db.client, "bob@example.com", "test")).rejects.toThrow(/2 users.*b0b00000/);
  await expect(removeAdmin(db.client, "nobody@example.com")).rejects.toThrow("nobody@example.com");
  expect(await listAdmins(db.client)).toEqual([]);
});

test("both halves change in one transaction: a failure between them is rolled back", async () => {
  const statements: string[] = [];
  const failing: SqlClient = {
    query: async (text, values) => {
      statements.push(text);
      if (text.startsWith("update auth.users")) throw new Error("connection lost");
      return await db.client.query(text, values);
    },
  };

  await expect(addAdmin(failing, "bob@example.com", "test")).rejects.toThrow("connection lost");
  expect([statements[0], statements.at(-1)]).toEqual(["begin", "rollback"]);
});
