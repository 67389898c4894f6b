import { Group, Skeleton, Stack, Table, Text } from "@mantine/core";
import type { ReactNode } from "react";
import type { TokenTransaction } from "tokenbook";
import { useExplanation } from "../data/queries.ts";
import { format, humanized } from "../format.ts";
import { Refused } from "../parts/Refused.tsx";
import type { Line } from "./fold.ts";
import classes from "./Ledger.module.css";

/** What is inside of a line: its entries, the use, and which grants paid. */
export function Entries({ line }: { line: Line }) {
  const charge = line.entries.find(({ entry_type }) => entry_type === "deduction");
  return (
    <Stack gap="sm" className={classes["details"]!}>
      <Table verticalSpacing={4} horizontalSpacing="xs" withRowBorders={false}>
        <Table.Tbody>
          {line.entries.map((entry) => (
            <Table.Tr key={entry.id}>
              <Table.Th scope="row" fw={500}>
                {nameOf(entry)}
                <Text size="xs" c="dimmed" fw={400}>
                  #{entry.id}, {format.second(entry.created_at)}
                </Text>
                {asideOf(entry).map((it) => (
                  <Text key={it} size="xs" c="dimmed" fw={400} className="words">
                    {it}
                  </Text>
                ))}
              </Table.Th>
              <Table.Td className="number">{movedBy(entry)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      {reasonsOf(line).map((reason) => (
        <Fact key={reason} name="Reason">
          <span className="words">{reason}</span>
        </Fact>
      ))}
      {charge !== undefined && <Charge transactionId={charge.id} />}
    </Stack>
  );
}

/** What belongs to one entry and not to the whole line: why something came back, and which admin did it. */
function asideOf({ entry_type, reason, actor_role, actor_id }: TokenTransaction): string[] {
  const why = entry_type === "release" && reason !== null ? [reason] : [];
  return actor_role === "admin" ? [...why, `by an admin${actor_id === null ? "" : `, ${actor_id}`}`] : why;
}

/** Each once, and none that says the action again, or is of a release alone. */
function reasonsOf({ entries, actionType }: Line): string[] {
  const actions = new Set([actionType, ...entries.map(({ action_type }) => action_type)]);
  return [
    ...new Set(
      entries.flatMap(({ entry_type, reason }) =>
        entry_type === "release" || reason === null || actions.has(reason) ? [] : reason,
      ),
    ),
  ];
}

function nameOf({ action_type, entry_type, parent_hold_id }: TokenTransaction): string {
  if (action_type === "hold_split") return "Set aside from the budget";
  if (action_type === "hold_return") return parent_hold_id === null ? "Ended" : "Rest back to the budget";
  return humanized(entry_type);
}

function movedBy({ action_type, tokens, reserved_change, debt_change }: TokenTransaction): string {
  // the budget was set aside before: nothing moves
  if (action_type === "hold_split" || action_type === "hold_return") return "";
  if (debt_change > 0)
    return `${tokens === 0 ? "" : `${format.change(tokens)}, `}${format.tokens(debt_change)} owed`;
  if (tokens !== 0) return format.change(tokens);
  if (reserved_change > 0) return `${format.tokens(reserved_change)} held`;
  if (reserved_change < 0) return `${format.tokens(-reserved_change)} given back`;
  return "0";
}

/** The use that was charged for, and what paid for it. */
function Charge({ transactionId }: { transactionId: number }) {
  const { data, error, refetch } = useExplanation(transactionId);
  if (error !== null) return <Refused error={error} retry={() => void refetch()} />;
  if (data === undefined) return <Skeleton height="2.5rem" />;
  const usage = data.usage ?? {};
  const count = (name: string) => (typeof usage[name] === "number" ? format.tokens(usage[name]) : null);
  const [model, input, output] = [usage["model_used"], count("input_tokens"), count("output_tokens")];
  return (
    <>
      {typeof model === "string" && (
        <Fact name="Model">
          <span className="words">{model}</span>
        </Fact>
      )}
      {input !== null && <Fact name="In and out">{`${input} and ${output ?? 0} tokens`}</Fact>}
      <Fact name="Paid by">
        {data.paid_by.map(({ grant_id, grant_type, tokens, granted_at }) => (
          <span key={grant_id} style={{ display: "block" }}>
            <span className="number">{format.tokens(tokens)}</span> from{" "}
            <span className="words">{humanized(grant_type).toLowerCase()}</span> of {format.day(granted_at)}
          </span>
        ))}
      </Fact>
      {data.undone_by.map((one) => (
        <Fact key={one.transaction_id} name={humanized(one.entry_type)}>
          {format.change(one.tokens)}, {format.day(one.created_at)}
        </Fact>
      ))}
    </>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <Group gap="xs" align="baseline" wrap="nowrap">
      <Text size="xs" c="dimmed" w="5.5rem" flex="none">
        {name}
      </Text>
      <Text size="sm" component="div">
        {children}
      </Text>
    </Group>
  );
}
