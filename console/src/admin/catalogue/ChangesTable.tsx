import { Table, Text } from "@mantine/core";
import type { Change } from "../draft.ts";
import preview from "../Preview.module.css";

/** What a change of the catalogue comes to, field by field. */
export function ChangesTable({ changes }: { changes: readonly Change[] }) {
  return (
    <div className={preview["preview"]} data-testid="changes">
      <Table verticalSpacing={2} horizontalSpacing="xs" className="plain">
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">What changes</Table.Th>
            <Table.Th scope="col" className="number">
              Now
            </Table.Th>
            <Table.Th scope="col" className="number">
              After
            </Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {changes.map(({ label, before, after }) => (
            <Table.Tr key={label}>
              <Table.Th scope="row" fw={400}>
                {label}
              </Table.Th>
              <Table.Td className="number words">
                <Text span size="sm" c="dimmed">
                  {before}
                </Text>
              </Table.Td>
              <Table.Td className="number words">{after}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </div>
  );
}
