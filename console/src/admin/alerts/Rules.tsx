import { Table } from "@mantine/core";
import { useState } from "react";
import type { AlertRule } from "tokenbook";
import { useTokenbook } from "tokenbook/react";
import { format } from "../../format.ts";
import { Mark } from "../../parts/Mark.tsx";
import { Nothing } from "../../parts/Nothing.tsx";
import { Section } from "../../parts/Section.tsx";
import { Waiting } from "../../parts/Waiting.tsx";
import { Acts, Called, Elsewhere, Listing, Narrow, New } from "../Listing.tsx";
import { ReasonDialog } from "../ReasonDialog.tsx";
import { usePlanName } from "../UsersPage.tsx";
import { useCommonRules } from "./queries.ts";
import { RuleDialog } from "./RuleDialog.tsx";

function saidOf({ kind, threshold_tokens, threshold_percent, hours }: AlertRule): string {
  if (kind === "depleted") return "No tokens are left";
  if (kind === "expiring_soon") return `A grant runs out within ${format.tokens(hours ?? 0)} hours`;
  return threshold_tokens === null
    ? `Below ${threshold_percent} % of the plan’s limit`
    : `Fewer than ${format.tokens(threshold_tokens)} tokens are left`;
}

type Doing = { what: "set"; rule: AlertRule | null } | { what: "remove"; rule: AlertRule };

/** When alerts are raised. */
export function Rules() {
  const books = useTokenbook();
  const rules = useCommonRules();
  const planName = usePlanName();
  const [doing, begin] = useState<Doing | null>(null);
  const close = () => begin(null);
  const whom = ({ plan_type }: AlertRule) => (plan_type === null ? "Everyone" : `On ${planName(plan_type)}`);
  return (
    <Section title="Rules" actions={<New onClick={() => begin({ what: "set", rule: null })}>New rule</New>}>
      {doing?.what === "set" && <RuleDialog rule={doing.rule} close={close} />}
      {doing?.what === "remove" && (
        <ReasonDialog
          title="Remove the rule"
          verb="Remove"
          close={close}
          act={async () => {
            const { rule, plan_type } = doing.rule;
            const { removed } = await books.alerts.removeRule(
              rule,
              plan_type === null ? { forEveryone: true } : { planType: plan_type },
            );
            return removed ? "It is removed. Alerts that it raised stay." : "It had been removed already.";
          }}
        >
          {doing.rule.rule}, {whom(doing.rule).toLowerCase()}: no alert is raised by it any more. A wider rule
          of this name holds instead, if there is one.
        </ReasonDialog>
      )}
      {rules.data === undefined ? (
        <Waiting of={rules} height="8rem" />
      ) : rules.data.length === 0 ? (
        <Nothing title="There is no rule">
          Make one, and users are told when few tokens are left, or when some run out soon.
        </Nothing>
      ) : (
        <Listing testId="rules" acts="To do" columns={[{ name: "Rule" }, { name: "For", isWide: true }]}>
          {rules.data.map((rule) => (
            <Table.Tr key={rule.id}>
              <Called
                title={saidOf(rule)}
                marks={
                  <>
                    {!rule.is_enabled && <Mark>Off</Mark>}
                    {rule.notify_recovered && <Mark>And its end</Mark>}
                  </>
                }
                under={
                  <>
                    {rule.rule}
                    <Narrow>, {whom(rule).toLowerCase()}</Narrow>
                  </>
                }
              />
              <Table.Td visibleFrom="sm" className="words">
                {whom(rule)}
              </Table.Td>
              <Acts
                of={`rule ${rule.rule} for ${rule.plan_type ?? "everyone"}`}
                acts={[
                  { verb: "Change", onClick: () => begin({ what: "set", rule }) },
                  { verb: "Remove", isGrave: true, onClick: () => begin({ what: "remove", rule }) },
                ]}
              />
            </Table.Tr>
          ))}
        </Listing>
      )}
      <Elsewhere>
        A rule for one user is set in SQL, by set_token_alert_rule. What somebody was told is on their page.
      </Elsewhere>
    </Section>
  );
}
