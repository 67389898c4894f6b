// @module-tag proof
/** What the way from a counter to the books takes with many users: `USERS=100000 npx vitest run tests/install/many-users.test.ts`. */
import { expect, test } from "vitest";
import { from, startCounting } from "./counter.ts";

const count = Number(process.env["USERS"] ?? 500);

test(`a counter of ${count} users`, { timeout: 1_800_000 }, async () => {
  const project = await startCounting(0);
  const { db, json, tokenbook } = project;
  await db.admin.query(
    `insert into auth.users (id, aud, role, email, email_confirmed_at, raw_app_meta_data, raw_user_meta_data)
     select gen_random_uuid(), 'authenticated', 'authenticated', n || '@example.com', now(), '{}', '{}' from generate_series(1, $1::integer) n`,
    [count],
  );
  await db.admin.query("insert into public.profiles (id, credits) select u.id, 100 from auth.users u");
  await db.admin.query("analyze auth.users, public.profiles");
  const seconds: Record<string, number> = {};
  const timed = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const begin = performance.now();
    const result = await work();
    seconds[name] = Math.round(performance.now() - begin) / 1000;
    return result;
  };
  const imported = await timed("import", () => tokenbook("import", ...from, "--times", "10", "--book"));
  expect(imported).toMatchObject({ status: 0 });
  const started = await timed("shadow --start", () => json("shadow", ...from, "--start"));
  expect(started).toMatchObject({ status: 0, users: count, booked: 0, differing: 0 });
  expect(await timed("compare", () => json("shadow", "--compare"))).toMatchObject({ differing: 0 });

  const some = Math.ceil(count / 10);
  await timed("the app writes a tenth", () =>
    db.admin.query(
      "update public.profiles set credits = credits - 1 where id in (select p.id from public.profiles p limit $1)",
      [some],
    ),
  );
  const waiting = await timed("compare, a tenth waiting", () => json("shadow", "--compare"));
  expect(waiting).toMatchObject({ differing: 0, not_booked: { changes: some } });
  const booked = await timed("shadow, a tenth booked", () => json("shadow"));
  expect(booked).toMatchObject({ status: 0, booked: some, differing: 0 });
  expect(await timed("stop", () => tokenbook("shadow", "--stop"))).toMatchObject({ status: 0 });
  const again = await timed("shadow --start again", () => json("shadow", ...from, "--start"));
  expect(again).toMatchObject({ status: 0, booked: 0, differing: 0 });
  expect(await timed("switch", () => json("switch", "--yes"))).toMatchObject({ status: 0, written: 0 });
  console.log(`a counter of ${count} users: seconds=${JSON.stringify(seconds)}`);
  const { rows } = await timed("verify", () => db.admin.query("select * from public.verify_token_ledger()"));
  expect(rows).toEqual([]);
  await db.drop();
});
