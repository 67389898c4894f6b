import { test } from "vitest";
import { booksToCorrupt } from "./books-to-corrupt.ts";
import { anyCorruptions, tryAttempt, type Tally } from "./any-corruption.ts";
test("tally", async () => {
  const { db } = await booksToCorrupt({ constraints: "in force" });
  const tally: Tally = { attempts: 0, seen: 0, refused: 0, free: 0, unseen: [], blamed: [] };
  const attempts = await anyCorruptions(db, 9000, (n) => Math.floor(Math.random() * n));
  const queue = [...attempts];
  const errors: string[] = [];
  await Promise.all(
    [1, 2].map(async () => {
      const client = await db.admin.connect();
      await client.query("set plan_cache_mode = force_generic_plan; set jit = off");
      for (let a = queue.pop(); a; a = queue.pop()) {
        try {
          await tryAttempt(client, a, tally);
        } catch (e) {
          errors.push(`${a.table}.${a.column} ${a.way}: ${(e as Error).message}`);
        }
      }
      client.release(true);
    }),
  );
  const counts = new Map<string, number>();
  for (const u of tally.unseen) counts.set(u, (counts.get(u) ?? 0) + 1);
  console.log(
    [...counts]
      .sort()
      .map(([k, v]) => `${k} x${v}`)
      .join("\n"),
  );
  const fc = new Map<string, number>();
  for (const u of (tally as any).frees ?? []) fc.set(u, (fc.get(u) ?? 0) + 1);
  console.log(
    "FREE",
    [...fc]
      .sort()
      .map(([k, v]) => `${k} x${v}`)
      .join("\n"),
  );
  (tally as any).frees = 0;
  console.log("BLAMED", [...new Set(tally.blamed)].join("\n"));
  console.log("ERRORS", [...new Set(errors)].join("\n"));
  console.log({ ...tally, unseen: tally.unseen.length, blamed: tally.blamed.length, errors: errors.length });
}, 1_800_000);
