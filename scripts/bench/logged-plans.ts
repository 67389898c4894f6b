import type pg from "pg";

export interface Plan {
  ms: number;
  /** The function whose statement it is, and the line of its body. */
  where: string;
  plan: string;
}

/** Runs `work`, and says of the statements within the functions it calls how the longest was run. */
export async function loggedPlans(
  client: pg.Client,
  work: () => Promise<unknown>,
): Promise<{ plan: Plan | undefined }> {
  const found: Plan[] = [];
  const listen = ({ message, where = "" }: { message?: string | undefined; where?: string | undefined }) => {
    const said =
      /^duration: ([\d.]+) ms {2}plan:\nQuery Text: [^]*?\n((?:[A-Z][A-Za-z]+ )*[A-Z][A-Za-z ]*(?: using [^\n]*| on [^\n]*)? {1,2}\((?:cost|actual|rows)[^]*)$/.exec(
        message ?? "",
      );
    if (said !== null)
      found.push({
        ms: Number(said[1]),
        where: /^PL\/pgSQL function .*$/m.exec(where)?.[0] ?? "",
        plan: said[2]!,
      });
  };
  await client.query("load 'auto_explain'");
  await client.query(
    `select set_config('auto_explain.' || name, value, false)
       from (values ('log_min_duration', '0'), ('log_analyze', 'true'), ('log_buffers', 'true'), ('log_timing', 'false'),
                    ('log_nested_statements', 'true'), ('log_level', 'notice')) s (name, value)`,
  );
  client.on("notice", listen);
  try {
    await work();
  } finally {
    await client.query("select set_config('auto_explain.log_min_duration', '-1', false)");
    client.off("notice", listen);
  }
  const reads = found.filter(
    ({ plan, where }) => where !== "" && !/^(Result|Function Scan|ProjectSet)/.test(plan),
  );
  const [longest] = (reads.length > 0 ? reads : found).toSorted((one, other) => other.ms - one.ms);
  return { plan: longest };
}
