import { Stack, Table, Text } from "@mantine/core";
import { Fragment } from "react";
import type { Grant } from "tokenbook";
import { format, humanized } from "../format.ts";
import type { Preview } from "./preview.ts";
import classes from "./Preview.module.css";

const shown = 6;

interface PreviewTableProps {
  preview: Preview;
  /** The grant that will be made. */
  made?: { tokens: number; type: string; runsOut: string } | undefined;
}

/** What there is now, and what there will be. */
export function PreviewTable({ preview, made }: PreviewTableProps) {
  const { changes, now, after, repaid, missing, isPartial } = preview;
  return (
    <Stack gap="xs" className={classes["preview"]!} data-testid="preview" aria-live="polite">
      <Text size="xs" c="dimmed">
        What will change, as it looks now
      </Text>
      {missing > 0 ? (
        <Text size="sm">
          They have {format.tokens(now)}: {format.tokens(missing)} are missing. It takes all or nothing, and
          would change nothing.
        </Text>
      ) : (
        <Table verticalSpacing={4} horizontalSpacing="xs" className="plain" withRowBorders={false}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Grant</Table.Th>
              <Table.Th scope="col" className="number">
                Now
              </Table.Th>
              <Table.Th scope="col" className="number">
                After
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {changes.slice(0, shown).map((change) => (
              <Table.Tr key={change.grant.id}>
                <Table.Th scope="row" fw={400}>
                  <span className="words">{nameOf(change.grant)}</span>
                </Table.Th>
                <Table.Td className="number" c="dimmed">
                  <Tokens count={change.now} />
                </Table.Td>
                <Table.Td className="number">
                  <Tokens count={change.after} />
                </Table.Td>
              </Table.Tr>
            ))}
            {made !== undefined && (
              <Table.Tr>
                <Table.Th scope="row" fw={400}>
                  <span className="words">
                    {humanized(made.type)}, new
                    <Text component="span" size="xs" c="dimmed" display="block">
                      {made.runsOut}
                    </Text>
                  </span>
                </Table.Th>
                <Table.Td className="number" c="dimmed">
                  0
                </Table.Td>
                <Table.Td className="number">
                  <Tokens count={made.tokens - repaid} />
                </Table.Td>
              </Table.Tr>
            )}
            <Table.Tr className={classes["sum"]!}>
              <Table.Th scope="row">Balance</Table.Th>
              <Table.Td className="number" c="dimmed">
                <Tokens count={now} />
              </Table.Td>
              <Table.Td className="number" fw={600}>
                <Tokens count={after} />
              </Table.Td>
            </Table.Tr>
          </Table.Tbody>
        </Table>
      )}
      {changes.length > shown && (
        <Text size="xs" c="dimmed">
          and {format.tokens(changes.length - shown)} more grants
        </Text>
      )}
      {isPartial && (
        <Text size="xs" c="dimmed">
          The rest comes from grants after the first hundred.
        </Text>
      )}
      {repaid > 0 && <Text size="sm">{format.tokens(repaid)} of it repays what they owe.</Text>}
    </Stack>
  );
}

/** A number that may go on in the next line between its groups, where there is no room. */
function Tokens({ count }: { count: number }) {
  const groups = format.tokens(count).split(/(?<=\D)(?=\d)/);
  return groups.map((group, n) => (
    // oxlint-disable-next-line react/no-array-index-key -- they have no other name
    <Fragment key={n}>
      {n > 0 && <wbr />}
      {group}
    </Fragment>
  ));
}

const nameOf = ({ grant_type, granted_at }: Grant) => `${humanized(grant_type)} of ${format.day(granted_at)}`;
