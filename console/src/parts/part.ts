/** Parts of the page that are files of their own, fetched when somebody wants them. */
import { useQuery } from "@tanstack/react-query";
import type { ComponentType } from "react";

/** That a file of the page did not come: the network is away, or a new version was deployed and has other files. */
export class NotFetched extends Error {
  override name = "NotFetched";
}

/** @throws {NotFetched} */
export const fetched = <Module>(load: () => Promise<Module>): Promise<Module> =>
  load().catch((cause: unknown) => {
    throw new NotFetched("A part of the page did not come", { cause });
  });

/** Reloads the page if who serves it answers: an open page that misses a part is worth more than none. */
export function reload(): void {
  fetch(location.href, { method: "HEAD", cache: "no-store" }).then(
    () => location.reload(),
    () => {},
  );
}

/**
 * A part, as what is read of the server: not there yet, there, or why not. React's `lazy` would take the whole page with it.
 * A browser keeps that a module has failed for as long as the page is open, so what is missing comes with a reload alone.
 */
export function usePart<Props>(name: string, load: () => Promise<{ default: ComponentType<Props> }>) {
  const { data, error } = useQuery({
    queryKey: ["part", name],
    queryFn: () => fetched(load),
    staleTime: Infinity,
    gcTime: Infinity,
    structuralSharing: false,
  });
  return { Part: data?.default, error };
}
