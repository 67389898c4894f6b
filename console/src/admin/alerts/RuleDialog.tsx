import { Select, Text } from "@mantine/core";
import { useState } from "react";
import type { AlertRule } from "tokenbook";
import { useTokenbook } from "tokenbook/react";
import { usePlans } from "../../data/queries.ts";
import { ActDialog } from "../ActDialog.tsx";
import { draftOf, type Field, isComplete, valueOf } from "../draft.ts";
import { FieldInputs } from "../FieldInputs.tsx";
import { NewName, useNewName } from "../NewName.tsx";
import { useAdmin, useChanged } from "../queries.ts";

type Kind = "dropped" | "depleted" | "expiring_soon";

const kinds: Field = {
  name: "kind",
  label: "When",
  kind: "choice",
  isWide: true,
  choices: [
    { value: "dropped", label: "Fewer tokens are left than" },
    { value: "depleted", label: "No tokens are left" },
    { value: "expiring_soon", label: "A grant runs out soon" },
  ],
};
const thresholds: Field[] = [
  { name: "threshold_tokens", label: "Tokens", hint: "Or percent.", kind: "count", isOptional: true },
  {
    name: "threshold_percent",
    label: "Percent",
    hint: "Of the plan’s limit.",
    kind: "count",
    isOptional: true,
  },
];
const hours: Field = { name: "hours", label: "Hours before", kind: "count", isOptional: true };
const isEnabled: Field = {
  name: "is_enabled",
  label: "Alerts are raised",
  hint: "Off: none for these, whatever a wider rule says.",
  kind: "yes",
};
const recovered: Field = {
  name: "notify_recovered",
  label: "Its end is an alert too",
  kind: "yes",
};
const asked: Record<Kind, Field[]> = {
  dropped: [kinds, ...thresholds, recovered, isEnabled],
  depleted: [kinds, recovered, isEnabled],
  expiring_soon: [kinds, hours, isEnabled],
};
const all = [kinds, ...thresholds, hours, recovered, isEnabled];

const everyone = "everyone";

/** Sets a rule for everyone or for a plan. */
export function RuleDialog({ rule, close }: { rule: AlertRule | null; close: () => void }) {
  const books = useTokenbook();
  const admin = useAdmin();
  const changed = useChanged();
  const { data: plans = [] } = usePlans();
  const [scope, setScope] = useState(
    rule === null || rule.plan_type === null ? everyone : `plan ${rule.plan_type}`,
  );
  const planType = scope === everyone ? null : scope.slice("plan ".length);
  const naming = useNewName(
    "rule",
    async (called) =>
      (await admin.alertRules({ limit: 1000 })).some(
        (it) => it.rule === called && it.user_id === null && it.plan_type === planType,
      ),
    scope,
  );
  const name = rule?.rule ?? naming.name.trim();
  const [draft, change] = useState(() => draftOf(all, { kind: "dropped", is_enabled: true, ...rule }));
  const kind = String(draft["kind"]) as Kind;
  const fields = asked[kind];
  const number = (of: string) => {
    const field = fields.find((it) => it.name === of);
    return field === undefined ? undefined : ((valueOf(field, draft) ?? undefined) as number | undefined);
  };
  return (
    <ActDialog
      title={rule === null ? "New alert rule" : `Change the rule ${rule.rule}`}
      verb={rule === null ? "Make" : "Change"}
      size="lg"
      isReady={name !== "" && isComplete(fields, draft)}
      close={close}
      {...(rule === null && { check: naming.check })}
      act={async () => {
        await books.alerts.setRule(name, {
          kind,
          thresholdTokens: number("threshold_tokens"),
          thresholdPercent: number("threshold_percent"),
          hours: number("hours"),
          notifyRecovered: kind !== "expiring_soon" && draft["notify_recovered"] === true,
          isEnabled: draft["is_enabled"] === true,
          ...(planType === null ? { forEveryone: true } : { planType }),
        });
        changed();
        return (
          <Text size="sm" className="words">
            The rule {name} holds. Who is below it already is not told; every crossing from now on counts.
          </Text>
        );
      }}
    >
      {rule === null && (
        <>
          <NewName
            naming={naming}
            label="Name in code"
            description="Alerts say it. Of the rules of one name the closest holds: the user’s, else their plan’s, else everyone’s."
          />
          <Select
            label="For"
            data={[
              { value: everyone, label: "Everyone" },
              ...plans.map((plan) => ({ value: `plan ${plan.plan_type}`, label: `Who is on ${plan.name}` })),
            ]}
            value={scope}
            allowDeselect={false}
            comboboxProps={{ withinPortal: false }}
            onChange={(value) => setScope(value ?? everyone)}
          />
        </>
      )}
      <FieldInputs fields={fields} draft={draft} change={change} isFirst={rule !== null} />
    </ActDialog>
  );
}
