import { Table } from "@mantine/core";
import { useState } from "react";
import type { Pack, Plan } from "tokenbook";
import { useTokenbook } from "tokenbook/react";
import { format } from "../../format.ts";
import { Mark } from "../../parts/Mark.tsx";
import { Nothing } from "../../parts/Nothing.tsx";
import { Section } from "../../parts/Section.tsx";
import { Waiting } from "../../parts/Waiting.tsx";
import { useAdmin } from "../queries.ts";
import { EditDialog } from "./EditDialog.tsx";
import { packFields, planFields } from "./fields.ts";
import { Act, Called, Elsewhere, Listing, Narrow, New } from "../Listing.tsx";
import { useAllPacks, useAllPlans } from "./queries.ts";

const nameHint = "Letters, digits and _ : it stays as it is.";

const periods = { none: "", "28day": " for 28 days", monthly: " a month", annual: " a year" };
const parts = { day: " a day", week: " a week", month: " a month" };

const priceOf = ({ price_cents, currency, billing_cycle }: Plan) =>
  price_cents === 0 ? "Free" : `${format.price(price_cents, currency)}${periods[billing_cycle]}`;

/** What a plan has where nothing is said. */
const newPlan = {
  price_cents: 0,
  currency: "usd",
  billing_cycle: "none",
  grant_type: "plan",
  issue_on: "anniversary",
  storage_gb: 0,
  rank: 0,
  is_offered: true,
  is_default: false,
};

export function Plans() {
  const admin = useAdmin();
  const books = useTokenbook();
  const plans = useAllPlans();
  const [edited, edit] = useState<Plan | "new" | null>(null);
  return (
    <Section title="Plans" actions={<New onClick={() => edit("new")}>New plan</New>}>
      {edited !== null && (
        <EditDialog
          thing="plan"
          name={edited === "new" ? null : edited.plan_type}
          nameHint={nameHint}
          fields={planFields}
          row={edited === "new" ? newPlan : { ...edited }}
          note="What it gives counts from each user’s next period on; price, rank and offer at once. Payments that wait keep the terms they were asked for at."
          isThere={async (name) => (await books.plans.list()).some(({ plan_type }) => plan_type === name)}
          save={(name, changes, options) => admin.setPlan(name, changes, options)}
          close={() => edit(null)}
        />
      )}
      {plans.data === undefined ? (
        <Waiting of={plans} height="12rem" />
      ) : plans.data.length === 0 ? (
        <Nothing title="There is no plan">
          Make one, and say whether new users get it. Without a plan, tokens come from packs, codes and
          grants.
        </Nothing>
      ) : (
        <Listing
          testId="plans"
          acts="Change"
          columns={[
            { name: "Plan" },
            { name: "Tokens", isNumber: true },
            { name: "Price", isNumber: true, isWide: true },
          ]}
        >
          {plans.data.map((plan) => (
            <Table.Tr key={plan.plan_type}>
              <Called
                title={plan.name}
                under={
                  <>
                    {plan.plan_type}
                    <Narrow>, {priceOf(plan).toLowerCase()}</Narrow>
                  </>
                }
                marks={
                  <>
                    {plan.is_default && <Mark color="book">New users get it</Mark>}
                    {!plan.is_offered && <Mark>Not offered</Mark>}
                  </>
                }
              />
              <Table.Td className="number">
                {format.tokens(plan.tokens)}
                {plan.issue_every !== null && parts[plan.issue_every]}
              </Table.Td>
              <Table.Td className="number" visibleFrom="sm">
                {priceOf(plan)}
              </Table.Td>
              <Act of={`plan ${plan.plan_type}`} onClick={() => edit(plan)} />
            </Table.Tr>
          ))}
        </Listing>
      )}
      <Elsewhere>A plan’s features for the app are set in SQL, by set_token_plan.</Elsewhere>
    </Section>
  );
}

const newPack = { currency: "usd", priority: 50, is_offered: true };

export function Packs() {
  const admin = useAdmin();
  const books = useTokenbook();
  const packs = useAllPacks();
  const [edited, edit] = useState<Pack | "new" | null>(null);
  return (
    <Section title="Packs" actions={<New onClick={() => edit("new")}>New pack</New>}>
      {edited !== null && (
        <EditDialog
          thing="pack"
          name={edited === "new" ? null : edited.pack_type}
          nameHint={nameHint}
          fields={packFields}
          row={edited === "new" ? newPack : { ...edited }}
          note="It counts for who buys from now on. Payments that wait keep the terms they were asked for at."
          isThere={async (name) => (await books.packs.list()).some(({ pack_type }) => pack_type === name)}
          save={(name, changes, options) => admin.setPack(name, changes, options)}
          close={() => edit(null)}
        />
      )}
      {packs.data === undefined ? (
        <Waiting of={packs} height="8rem" />
      ) : packs.data.length === 0 ? (
        <Nothing title="There is no pack">Make one: tokens that are bought once, beside any plan.</Nothing>
      ) : (
        <Listing
          testId="packs"
          acts="Change"
          columns={[
            { name: "Pack" },
            { name: "Tokens", isNumber: true },
            { name: "Price", isNumber: true, isWide: true },
          ]}
        >
          {packs.data.map((pack) => (
            <Table.Tr key={pack.pack_type}>
              <Called
                title={pack.name}
                under={
                  <>
                    {pack.pack_type}
                    {pack.lifetime_days !== null && `, for ${format.tokens(pack.lifetime_days)} days`}
                    <Narrow>, {format.price(pack.price_cents, pack.currency)}</Narrow>
                  </>
                }
                marks={!pack.is_offered && <Mark>Not offered</Mark>}
              />
              <Table.Td className="number">{format.tokens(pack.tokens)}</Table.Td>
              <Table.Td className="number" visibleFrom="sm">
                {format.price(pack.price_cents, pack.currency)}
              </Table.Td>
              <Act of={`pack ${pack.pack_type}`} onClick={() => edit(pack)} />
            </Table.Tr>
          ))}
        </Listing>
      )}
    </Section>
  );
}
