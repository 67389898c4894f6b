/** Two projects, and users who are moved from one to the other. */
import pg from "pg";
import {
  moveBooks,
  moveOf,
  peopleOfTeam,
  takeBack,
  type Ends,
  type Proof,
  type Step,
} from "../../packages/tokenbook/src/move/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";

export interface Projects {
  from: Database;
  to: Database;
  drop(): Promise<void>;
}

export async function createProjects(mutant?: string): Promise<Projects> {
  const [from, to] = [await createDatabase(), await createDatabase()];
  if (mutant !== undefined) for (const db of [from, to]) await applyMutant(db, mutant);
  return {
    from,
    to,
    drop: async () => {
      await from.drop();
      await to.drop();
    },
  };
}

/** A connection as the owner of the database, as the command has them. */
export async function connectTo(db: Database): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: db.url("postgres") });
  client.on("error", () => {});
  await client.connect();
  return client;
}

async function withEnds<T>({ from, to }: Pick<Projects, "from" | "to">, work: (ends: Ends) => Promise<T>) {
  const ends = { from: await connectTo(from), to: await connectTo(to), prover: await connectTo(from) };
  try {
    return await work(ends);
  } finally {
    await Promise.all(Object.values(ends).map((client) => client.end()));
  }
}

export interface Moving {
  /** The last step that is done: then it stops, as if it had been killed. */
  until?: Step;
  place?: string;
  onStep?: (step: Step) => Promise<void>;
}

/** Moves a user and their team as the command does, or goes on with a move of theirs. */
export async function moveUser(
  projects: Pick<Projects, "from" | "to">,
  userId: string,
  { until, place = "eu-2", onStep }: Moving = {},
): Promise<Proof | null> {
  return await withEnds(projects, async (ends) => {
    const begun = await moveOf(ends.from, userId);
    const userIds = begun?.userIds ?? (await peopleOfTeam(ends.from, userId));
    let proof: Proof | null = null;
    for await (const done of moveBooks(ends, {
      userIds,
      place: begun?.place ?? place,
      fromPlace: "home",
      begun,
    })) {
      proof = done.proof;
      await onStep?.(done.step);
      if (done.step === until) break;
    }
    return proof;
  });
}

/** Takes the move of a user back, as the command does with --cancel. */
export async function cancelMove(projects: Pick<Projects, "from" | "to">, userId: string): Promise<void> {
  await withEnds(projects, async (ends) => await takeBack(ends, (await moveOf(ends.from, userId))!));
}
