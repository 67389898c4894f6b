import { Select, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import type { ParkedPayment } from "tokenbook";
import { useTokenbook } from "tokenbook/react";
import { usePlans } from "../data/queries.ts";
import { format, humanized } from "../format.ts";
import { ActDialog } from "../parts/ActDialog.tsx";
import { NumberField } from "./NumberField.tsx";
import { numbers } from "./typed.ts";
import { keys, useAdmin, useChanged } from "./queries.ts";
import { UserPick } from "./UserPick.tsx";

const atLeastOne = { least: 1 };

/** Assigns a parked payment to a user, and says what was bought where that is not known. */
export function AssignDialog({ parked, close }: { parked: ParkedPayment; close: () => void }) {
  const admin = useAdmin();
  const books = useTokenbook();
  const changed = useChanged();
  const { data: plans = [] } = usePlans();
  const { data: packs = [] } = useQuery({
    queryKey: keys.of("packs"),
    queryFn: ({ signal }) => books.packs.list({ signal }),
  });
  const [userId, choose] = useState(parked.user_id);
  const [bought, buy] = useState<string | null>(null);
  const [typed, type] = useState("1");
  const quantity = numbers.read(typed, atLeastOne).value;
  const isKnown = parked.plan_type !== null || parked.pack_type !== null;
  const [what, name] = (bought ?? "").split(" ") as [string, string | undefined];
  const offer =
    what === "plan" ? plans.find((it) => it.plan_type === name) : packs.find((it) => it.pack_type === name);
  const count = what === "pack" ? quantity : 1;
  const told = (it: NonNullable<typeof offer>) =>
    `${it.name}, ${it.price_cents === 0 ? "free" : format.price(it.price_cents, it.currency)}`;
  return (
    <ActDialog
      title="Say whose the payment is"
      verb="Assign"
      isReady={userId !== null && (isKnown || bought !== null) && quantity !== null}
      close={close}
      act={async () => {
        const done = await admin.assignParked(parked.provider, parked.provider_payment_id, {
          userId: userId!,
          ...(isKnown ? {} : what === "plan" ? { planType: name } : { packType: name, quantity: quantity! }),
        });
        changed();
        const also =
          done.payments_released === 0
            ? ""
            : ` ${format.tokens(done.payments_released)} more of that customer’s are theirs too.`;
        return (
          <Text size="sm">
            {done.status === "parked"
              ? "It is theirs, and waits for another reason: the list says which."
              : `It is theirs, and gave ${format.tokens(done.tokens_granted)} tokens.${also}`}
          </Text>
        );
      }}
    >
      <Text size="sm" className="words">
        {parked.amount_cents === null
          ? "No amount"
          : format.price(parked.amount_cents, parked.currency ?? "usd")}
        {` at ${humanized(parked.provider)}, ${format.minute(parked.created_at)}. `}
        {parked.explanation}
      </Text>
      <Text size="xs" c="dimmed" className="words">
        {parked.provider_payment_id}
        {parked.customer_id !== null && `, customer ${parked.customer_id}`}: the provider’s page of it says
        who paid.
      </Text>
      {parked.user_id === null && <UserPick value={userId} change={choose} />}
      {!isKnown && (
        <Select
          label="What was bought"
          data={[
            {
              group: "Packs",
              items: packs.map((it) => ({ value: `pack ${it.pack_type}`, label: told(it) })),
            },
            {
              group: "Plans",
              items: plans.map((it) => ({ value: `plan ${it.plan_type}`, label: told(it) })),
            },
          ]}
          value={bought}
          comboboxProps={{ withinPortal: false }}
          onChange={buy}
        />
      )}
      {!isKnown && what === "pack" && (
        <NumberField label="How many" limits={atLeastOne} value={typed} change={type} />
      )}
      {offer !== undefined && count !== null && (
        <Text size="sm" className="words" data-testid="gives">
          {`It gives ${format.tokens(offer.tokens * count)} tokens at once.`}
          {(offer.price_cents * count !== parked.amount_cents ||
            offer.currency !== (parked.currency ?? offer.currency)) &&
            " What was paid is not its price in the catalogue."}
        </Text>
      )}
      <Text size="xs" c="dimmed">
        Where their customer at the provider was nobody’s, it is theirs from now on: the next payment finds
        them.
      </Text>
    </ActDialog>
  );
}
