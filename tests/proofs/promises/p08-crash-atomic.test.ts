// @module-tag proof
import { crash, type Crashes } from "../../support/crash.ts";
import { type DurableServer, startDurableServer } from "../../support/durable.ts";
import { applyMutant } from "../../support/mutants.ts";
import { connectAsOwner } from "../../support/storm.ts";
import type { Workload } from "../../support/workload.ts";
import { keep, type Tried } from "./promise.ts";

keep({
  id: "P8",
  promise: "A crash leaves every account equal to its grants, its holds and its ledger",
  trial:
    "After each SIGKILL under 16 writers of everything that the books can do: every invariant of every account, from the tables and by verify_token_ledger(), before anything is asked again and after",
  run: (scale) =>
    tryIt({
      ...(scale === "long" ? { rounds: 21, answers: 1_000 } : { rounds: 2, answers: 300 }),
      ...{ writers: 16, killings: ["server", "backend", "all"] },
    }),
  control: {
    variant: "spends in two transactions: takes from the grants, then books it",
    run: () =>
      tryIt(
        {
          ...{ rounds: 2, answers: 200, writers: 16, killings: ["all"] },
          connect: connectAsOwner,
          attempts: (work: Workload) => work.next(["grant", "deduct", "deduct"]),
          async write(client, attempt) {
            if (attempt.kind === "grant")
              return (await client.query(attempt.sql, attempt.values)).rows[0].receipt;
            const [user, tokens] = attempt.values;
            await client.query("call public.spend_in_two_transactions($1, $2)", [user, tokens]);
            return { success: false, replayed: false, transaction_id: null };
          },
        },
        (server) => applyMutant(server.db, "spend-in-two-transactions"),
      ),
  },
});

async function tryIt(
  crashes: Crashes,
  prepare: (server: DurableServer) => Promise<void> = () => Promise.resolve(),
): Promise<Tried> {
  const server = await startDurableServer();
  try {
    await prepare(server);
    const { acknowledged, rounds, mix, broken } = await crash(server, crashes);
    return {
      ...{ times: rounds, unit: `crashes, ${acknowledged} answers`, mix },
      ...{ violations: broken.length, examples: broken.slice(0, 5) },
    };
  } finally {
    await server.close();
  }
}
