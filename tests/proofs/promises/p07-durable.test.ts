// @module-tag proof
import { crash, type Crashes } from "../../support/crash.ts";
import { startDurableServer } from "../../support/durable.ts";
import { keep, type Tried } from "./promise.ts";

keep({
  id: "P7",
  promise: "What was acknowledged survives a crash, and what is not known is settled by asking again",
  trial:
    "The database killed (SIGKILL: all its processes, the server process, one backend) under 16 writers of grants, deductions, usage, holds, captures, releases, refunds and corrections; every answer, and every call without one, compared with the books, and those without one sent again with their keys",
  run: (scale) =>
    tryIt({
      ...(scale === "long" ? { rounds: 21, answers: 2_000 } : { rounds: 3, answers: 400 }),
      ...{ writers: 16, killings: ["all", "server", "backend"] },
    }),
  control: {
    variant: "commits are acknowledged before they are written down (synchronous_commit = off)",
    run: () =>
      tryIt({
        ...{ rounds: 1, answers: 400, writers: 16, killings: ["all"] },
        settings: {
          synchronous_commit: "off",
          wal_writer_delay: "10s",
          wal_writer_flush_after: "1GB",
          wal_buffers: "64MB",
        },
      }),
  },
});

async function tryIt(crashes: Crashes): Promise<Tried> {
  const server = await startDurableServer(crashes.settings);
  try {
    const { acknowledged, rounds, mix, lost, unasked, unresolved } = await crash(server, crashes);
    const examples = [
      ...lost.map((one) => `lost: ${one}`),
      ...unasked.map((one) => `unasked: ${one}`),
      ...unresolved.map((one) => `unresolved: ${one}`),
    ];
    return {
      ...{ times: acknowledged, unit: `answers before and after ${rounds} crashes`, mix },
      ...{ violations: examples.length, examples: examples.slice(0, 5) },
    };
  } finally {
    await server.close();
  }
}
