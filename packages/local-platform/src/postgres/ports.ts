import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { Failure } from "../terminal/failure.ts";

/** A port of 127.0.0.1 that nobody uses at this moment. */
export async function freePort(): Promise<number> {
  return await listenBriefly(0);
}

/**
 * Makes sure that a port of 127.0.0.1 can be had.
 *
 * @param what what the port is for, in words ("the database").
 * @param variable the environment variable that chooses another.
 * @throws Failure when another program listens there.
 */
export async function requireFreePort(port: number, what: string, variable: string): Promise<void> {
  try {
    await listenBriefly(port);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EADDRINUSE" && code !== "EACCES") throw error;
    throw new Failure(
      `Port ${port}, which ${what} needs, is ` +
        (code === "EACCES" ? "not for ordinary users.\n" : "taken by another program.\n") +
        `Stop that program (another checkout, or \`supabase start\`?), or choose another port, with ` +
        `${variable}=<port>.`,
    );
  }
}

async function listenBriefly(port: number): Promise<number> {
  const server = createServer();
  return await new Promise<number>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => {
      const { port: actual } = server.address() as AddressInfo;
      server.close(() => resolve(actual));
    });
  });
}
