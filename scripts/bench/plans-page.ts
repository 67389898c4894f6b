import type { Request } from "./measure-console.ts";

/** The page docs/console/plans.md. */
export function pageOf(data: string, requests: readonly Request[]): string {
  const plans = requests.flatMap(({ page, request, plan }) =>
    plan === undefined
      ? []
      : [
          `## ${page}: ${request}`,
          "",
          `${plan.where === "" ? "The statement itself" : plan.where}:`,
          "",
          "```text",
          shortened(plan.plan),
          "```",
          "",
        ],
  );
  return [
    "# How an admin's pages are read",
    "",
    "Made by `npm run bench:console -- --plans`: of each request of the console's pages for admins, its longest statement, as Postgres ran it for",
    `${data}.`,
    "",
    ...plans,
  ].join("\n");
}

/** The beginning of a plan: what is at its end is small. */
function shortened(plan: string): string {
  const lines = plan
    .trimEnd()
    .split("\n")
    .filter((line) => !/^\s*(Buffers|Output|Cache|Hits):/.test(line))
    .map((line) => line.replaceAll(/cost=\S+ rows=\d+ width=\d+\) \(/g, "").slice(0, 160));
  return [...lines.slice(0, 12), ...(lines.length > 12 ? ["…"] : [])].join("\n");
}
