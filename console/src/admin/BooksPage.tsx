import { Group, Stack, Table, Text } from "@mantine/core";
import { IconCircleCheck } from "@tabler/icons-react";
import { type ReactNode, useCallback, useMemo } from "react";
import type { Discrepancy } from "tokenbook";
import { format, humanized } from "../format.ts";
import { PageName } from "../parts/PageName.tsx";
import { Section } from "../parts/Section.tsx";
import { Theirs } from "../parts/Theirs.tsx";
import { AdminLink } from "./AdminLink.tsx";
import { FromReplica } from "./FromReplica.tsx";
import { useAdmin } from "./queries.ts";
import { Again, Going } from "./Going.tsx";
import { type Range, useSweep } from "./sweep.ts";
import { unitOf } from "./units.ts";
import { UserLink } from "./UserLink.tsx";
import classes from "./Books.module.css";

/** So many breaches are listed; where there are more, a command lists all. */
const shown = 100;

/** Whether the books are right: against the records of use, and in themselves. */
export function BooksPage() {
  const admin = useAdmin();
  const compared = useSweep(
    useCallback((range: Range) => admin.discrepancies({ ...range, threshold: 0 }), [admin]),
  );
  const verified = useSweep(useCallback((range: Range) => admin.verify(range), [admin]));
  const worstFirst = useMemo(
    () => compared.rows.toSorted((one, other) => sizeOf(other) - sizeOf(one)),
    [compared.rows],
  );
  return (
    <Stack gap="md">
      <PageName name="Books" />
      <FromReplica />
      <Section title="Against the records of use" actions={<Again sweep={compared} />}>
        <Going sweep={compared} />
        {compared.isDone && worstFirst.length === 0 && (
          <AllRight>Every balance and every cost is what was recorded.</AllRight>
        )}
        {worstFirst.length > 0 && (
          <Table
            verticalSpacing={8}
            horizontalSpacing="xs"
            className={`plain ${classes["table"]}`}
            data-testid="discrepancies"
          >
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">User</Table.Th>
                <Table.Th scope="col" visibleFrom="sm">
                  What it is
                </Table.Th>
                <Table.Th scope="col" className={`number ${classes["figures"]}`} visibleFrom="sm">
                  Books have
                </Table.Th>
                <Table.Th scope="col" className={`number ${classes["figures"]}`} visibleFrom="sm">
                  Records say
                </Table.Th>
                <Table.Th scope="col" className={`number ${classes["figures"]}`}>
                  Difference
                </Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {worstFirst.map((row) => (
                <DiscrepancyRow key={row.user_id} row={row} />
              ))}
            </Table.Tbody>
          </Table>
        )}
      </Section>
      <Section title="In themselves" actions={<Again sweep={verified} />}>
        <Going sweep={verified} />
        {verified.isDone && verified.rows.length === 0 && (
          <AllRight>No rule of the books is broken: grants, accounts and ledger agree.</AllRight>
        )}
        {verified.rows.length > 0 && (
          <Stack gap="sm" data-testid="breaches">
            <Text size="sm" fw={500}>
              {verified.rows.length === 1
                ? "One rule is broken."
                : `${format.tokens(verified.rows.length)} rules are broken.`}
            </Text>
            {verified.rows
              .slice(0, shown)
              .map(({ invariant, user_id, grant_id, transaction_id, expected, found }, n) => (
                <div key={n} className={classes["breach"]}>
                  <Text size="sm" fw={500} className="words">
                    {invariant}
                  </Text>
                  <Text size="sm" className="words">
                    Expected {valueOf(invariant, expected)}, found {valueOf(invariant, found)}.
                  </Text>
                  <Text size="xs" c="dimmed" className="words">
                    {user_id !== null && <UserLink userId={user_id} />}
                    {transaction_id !== null && `, entry #${transaction_id}`}
                    {grant_id !== null && `, grant ${grant_id}`}
                  </Text>
                </div>
              ))}
            <Text size="sm" c="dimmed">
              Somebody wrote to a table past the functions. An adjustment does not mend that; the guide
              “Reconciling” says how the row is put back.
            </Text>
            {verified.rows.length > shown && (
              <Text size="sm" c="dimmed">
                and {format.tokens(verified.rows.length - shown)} more: npx tokenbook verify lists all.
              </Text>
            )}
          </Stack>
        )}
      </Section>
    </Stack>
  );
}

/** A value that a rule expects, or that was found, with its unit. */
function valueOf(invariant: string, value: string | null): string {
  if (value === null) return "nothing";
  const unit = unitOf(invariant, value);
  if (unit === undefined) return value;
  return unit === "cents" ? format.unitPrice(Number(value), "USD") : `${format.tokens(Number(value))} tokens`;
}

/** A user whose books cannot be read sorts before any figure; then by tokens, then by cost. */
function sizeOf({ remaining_difference, used_difference, cost_difference }: Discrepancy): number {
  if (remaining_difference === null) return Number.MAX_SAFE_INTEGER;
  return (
    Math.abs(remaining_difference) +
    Math.abs(used_difference ?? 0) / 1e6 +
    Math.abs(cost_difference ?? 0) / 1e12
  );
}

function AllRight({ children }: { children: ReactNode }) {
  return (
    <Group gap="xs" wrap="nowrap" role="status">
      <IconCircleCheck size={20} aria-hidden color="var(--accent)" className={classes["mark"]!} />
      <Text size="sm">{children}</Text>
    </Group>
  );
}

function DiscrepancyRow({ row }: { row: Discrepancy }) {
  const {
    user_id,
    email,
    current_remaining,
    expected_remaining,
    remaining_difference,
    cost_difference,
    scenarios,
  } = row;
  const isCost = remaining_difference === 0 && cost_difference !== null && cost_difference !== 0;
  const what = scenarios.map(humanized).join(", ");
  const figure = (tokens: number | null) => (tokens === null ? "" : format.tokens(tokens));
  return (
    <Table.Tr>
      <Table.Th scope="row" fw={400}>
        <AdminLink path={`books/${user_id}`} c="var(--mantine-color-text)" fw={500} className="words">
          <Theirs>{email ?? user_id}</Theirs>
        </AdminLink>
        <Text size="xs" c="dimmed" hiddenFrom="sm" className="words">
          {what}
        </Text>
      </Table.Th>
      <Table.Td visibleFrom="sm" className="words">
        {what}
      </Table.Td>
      <Table.Td className="number" visibleFrom="sm" c="dimmed">
        {figure(current_remaining)}
      </Table.Td>
      <Table.Td className="number" visibleFrom="sm" c="dimmed">
        {figure(expected_remaining)}
      </Table.Td>
      <Table.Td className="number" fw={500}>
        {remaining_difference === null
          ? "Unreadable"
          : isCost
            ? format.price(cost_difference, "USD")
            : format.change(remaining_difference)}
        {isCost && (
          <Text size="xs" c="dimmed" fw={400}>
            of cost
          </Text>
        )}
      </Table.Td>
    </Table.Tr>
  );
}
