import { Table, Text } from "@mantine/core";
import { useState } from "react";
import type { TokenCode } from "tokenbook";
import { format } from "../../format.ts";
import { Mark } from "../../parts/Mark.tsx";
import { More } from "../../parts/More.tsx";
import { Nothing } from "../../parts/Nothing.tsx";
import { Section } from "../../parts/Section.tsx";
import { Waiting } from "../../parts/Waiting.tsx";
import { useAdmin } from "../queries.ts";
import { ReasonDialog } from "../ReasonDialog.tsx";
import { CodeDialog } from "./CodeDialog.tsx";
import { Act, Called, Elsewhere, Listing, Narrow, New } from "../Listing.tsx";
import { useCodes } from "./queries.ts";

const states = { open: "Open", ended: "Ended", used_up: "Used up", expired: "Expired", waiting: "Not yet" };

/** Codes that give tokens. */
export function Codes() {
  const admin = useAdmin();
  const codes = useCodes();
  const [isMaking, make] = useState(false);
  const [ending, end] = useState<TokenCode | null>(null);
  return (
    <Section title="Codes" actions={<New onClick={() => make(true)}>New code</New>}>
      {isMaking && <CodeDialog close={() => make(false)} />}
      {ending !== null && (
        <ReasonDialog
          title="End the code"
          verb="End"
          hasReason
          close={() => end(null)}
          act={async (reason) => {
            const { redemptions } = await admin.endCode(ending.code_id, { reason });
            return `Nobody redeems it any more. It was redeemed ${times(redemptions)}; what it gave stays.`;
          }}
        >
          {ending.name}: nobody redeems it from now on. What it has given stays. It cannot be opened again.
        </ReasonDialog>
      )}
      {codes.data === undefined ? (
        <Waiting of={codes} height="8rem" />
      ) : codes.data.length === 0 ? (
        <Nothing title="There is no code">
          Make one for a campaign or a voucher: a user who types it in is given its tokens.
        </Nothing>
      ) : (
        <>
          <Listing
            testId="codes"
            acts="End"
            columns={[
              { name: "Code" },
              { name: "Gives", isNumber: true },
              { name: "Redeemed", isNumber: true, isWide: true },
              { name: "Until", isNumber: true, isWide: true },
            ]}
          >
            {codes.data.map((code) => {
              const { code_id, name, state, tokens, redemptions, max_redemptions, valid_until } = code;
              const isOver = state !== "open" && state !== "waiting";
              return (
                <Table.Tr key={code_id}>
                  <Called
                    title={name}
                    marks={state !== "open" && <Mark>{states[state]}</Mark>}
                    under={
                      <>
                        made {format.brief(code.created_at)}
                        <Narrow>
                          , redeemed {format.tokens(redemptions)} of {format.tokens(max_redemptions ?? 0)}
                        </Narrow>
                      </>
                    }
                  />
                  <Table.Td className="number">{format.tokens(tokens)}</Table.Td>
                  <Table.Td className="number" visibleFrom="sm">
                    {format.tokens(redemptions)}{" "}
                    <Text span size="sm" c="dimmed">
                      of {format.tokens(max_redemptions ?? 0)}
                    </Text>
                  </Table.Td>
                  <Table.Td className="number" c="dimmed" visibleFrom="sm">
                    {valid_until === null ? "No end" : format.day(valid_until)}
                  </Table.Td>
                  {isOver ? <Table.Td /> : <Act of={`code ${name}`} verb="End" onClick={() => end(code)} />}
                </Table.Tr>
              );
            })}
          </Listing>
          <More of={codes}>More codes</More>
        </>
      )}
      <Elsewhere>What referrals give is set in SQL, by set_token_referral_policy.</Elsewhere>
    </Section>
  );
}

const times = (count: number) => (count === 1 ? "once" : `${format.tokens(count)} times`);
