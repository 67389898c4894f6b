// @module-tag proof
import { type Aftermath, crash, type Crashes } from "../../support/crash.ts";
import { type DurableServer, startDurableServer } from "../../support/durable.ts";
import { applyMutant } from "../../support/mutants.ts";
import { connectAsOwner } from "../../support/storm.ts";
import type { Workload } from "../../support/workload.ts";
import { keep, type Scale, type Tried } from "./promise.ts";

keep({
  id: "P7",
  promise: "What was acknowledged survives a crash, and what is not known is settled by asking again",
  trial:
    "The database killed (SIGKILL: all its processes, the server process, one backend) under 16 writers of grants, deductions, usage, holds, captures, releases, refunds and corrections; every answer, and every call without one, compared with the books, and those without one sent again with their keys",
  run: async (scale) => durable(await crashed(scale)),
  control: {
    variant: "commits are acknowledged before they are written down (synchronous_commit = off)",
    run: async () =>
      durable(
        await crashOn({
          rounds: 1,
          answers: 400,
          writers: 16,
          killings: ["all"],
          settings: {
            synchronous_commit: "off",
            wal_writer_delay: "10s",
            wal_writer_flush_after: "1GB",
            wal_buffers: "64MB",
          },
        }),
      ),
  },
});

keep({
  id: "P8",
  promise: "A crash leaves every account equal to its grants, its holds and its ledger",
  trial:
    "After each SIGKILL of P7, under 16 writers of everything that the books can do: every invariant of every account, from the tables and by verify_token_ledger(), before anything is asked again and after",
  run: async (scale) => whole(await crashed(scale)),
  control: {
    variant: "spends in two transactions: takes from the grants, then books it",
    run: async () =>
      whole(
        await crashOn(
          {
            rounds: 2,
            answers: 200,
            writers: 16,
            killings: ["all"],
            connect: connectAsOwner,
            attempts: (work: Workload) => work.next(["grant", "deduct", "deduct"]),
            async write(client, attempt) {
              if (attempt.kind === "grant")
                return (await client.query(attempt.sql, attempt.values)).rows[0].receipt;
              const [user, tokens] = attempt.values;
              await client.query("call public.spend_in_two_transactions($1, $2)", [user, tokens]);
              return {
                success: false,
                replayed: false,
                transaction_id: null,
              };
            },
          },
          (server) => applyMutant(server.db, "spend-in-two-transactions"),
        ),
      ),
  },
});

let found: Promise<Aftermath> | undefined;

/** The crashes that both promises are tried by: one looks at what was acknowledged, the other at the books. */
function crashed(scale: Scale): Promise<Aftermath> {
  return (found ??= crashOn({
    ...(scale === "long"
      ? {
          rounds: 21,
          answers: 2e3,
        }
      : {
          rounds: 3,
          answers: 400,
        }),
    writers: 16,
    killings: ["all", "server", "backend"],
  }));
}

async function crashOn(
  crashes: Crashes,
  prepare: (server: DurableServer) => Promise<void> = () => Promise.resolve(),
): Promise<Aftermath> {
  const server = await startDurableServer(crashes.settings);
  try {
    await prepare(server);
    return await crash(server, crashes);
  } finally {
    await server.close();
  }
}

/** What was lost, made up, or is still not known. */
function durable({ acknowledged, rounds, mix, lost, unasked, unresolved }: Aftermath): Tried {
  const examples = [
    ...lost.map((one) => `lost: ${one}`),
    ...unasked.map((one) => `unasked: ${one}`),
    ...unresolved.map((one) => `unresolved: ${one}`),
  ];
  return {
    times: acknowledged,
    unit: `answers before and after ${rounds} crashes`,
    mix,
    violations: examples.length,
    examples: examples.slice(0, 5),
  };
}

/** Accounts that are not what their grants, holds and ledger say. */
function whole({ acknowledged, rounds, mix, broken }: Aftermath): Tried {
  return {
    times: rounds,
    unit: `crashes, ${acknowledged} answers`,
    mix,
    violations: broken.length,
    examples: broken.slice(0, 5),
  };
}
