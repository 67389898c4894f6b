import { Table } from "@mantine/core";
import { useState } from "react";
import type { ActionCost, ModelRate } from "tokenbook";
import { format, humanized } from "../../format.ts";
import { More } from "../../parts/More.tsx";
import { Nothing } from "../../parts/Nothing.tsx";
import { Section } from "../../parts/Section.tsx";
import { Waiting } from "../../parts/Waiting.tsx";
import { useAdmin } from "../queries.ts";
import { ReasonDialog } from "../ReasonDialog.tsx";
import { standingsOf } from "./dated.ts";
import { EditDialog } from "./EditDialog.tsx";
import { costFields, rateFields } from "./fields.ts";
import { Acts, Called, Listing, Narrow, New } from "../Listing.tsx";
import { rowsCalled, useActionCosts, useModelRates } from "./queries.ts";

/** What a rate has where nothing is said. */
const newRate = {
  tokens_per_input: 1,
  tokens_per_output: 1,
  tokens_per_image: 0,
  tokens_per_second: 0,
  markup_percent: 0,
};

/** What of a rate is not in the columns. */
function besidesOf({
  tokens_per_cached,
  tokens_per_reasoning,
  tokens_per_image,
  tokens_per_second,
}: ModelRate) {
  const rate = (name: string, tokens: number | null, usual: number | null) =>
    tokens === usual ? [] : [`${name} ${format.exact(tokens!)}`];
  return [
    ...rate("cached", tokens_per_cached, null),
    ...rate("reasoning", tokens_per_reasoning, null),
    ...rate("an image", tokens_per_image, 0),
    ...rate("a second", tokens_per_second, 0),
  ];
}

const patternOf = ({ model_pattern }: ModelRate) => model_pattern;
const standingsOfRates = (rates: readonly ModelRate[]) =>
  standingsOf(rates, patternOf, ({ tokens_per_input }) => tokens_per_input === null);

/** What is to come, in words. */
const saidOf = (rate: ModelRate) =>
  rate.tokens_per_input === null
    ? "none"
    : [
        `${format.exact(rate.tokens_per_input)} for input`,
        `${format.exact(rate.tokens_per_output!)} for output`,
        `${format.exact(rate.markup_percent!)} % markup`,
        ...besidesOf(rate),
      ].join(", ");

/** What using models costs users. */
export function Rates() {
  const admin = useAdmin();
  const rates = useModelRates();
  const [edited, edit] = useState<ModelRate | "new" | null>(null);
  const [ended, end] = useState<string | null>(null);
  const standings = standingsOfRates(rates.data ?? []);
  return (
    <Section title="What models cost users" actions={<New onClick={() => edit("new")}>New rate</New>}>
      {edited !== null && (
        <EditDialog
          thing="rate"
          name={edited === "new" ? null : edited.model_pattern}
          nameHint="A model, or how its name begins, and *. * alone: every model."
          fields={rateFields}
          row={edited === "new" ? newRate : { ...edited }}
          note="What was booked stays at the rate of its time."
          hasFrom
          isThere={async (name) => {
            const [found] = standingsOfRates(
              await rowsCalled(name, patternOf, (page) => admin.modelRates(page)),
            );
            return found !== undefined && found.now !== null;
          }}
          save={(name, changes, options) => admin.setModelRate(name, changes, options)}
          close={() => edit(null)}
        />
      )}
      {ended !== null && (
        <ReasonDialog
          title="End the rate"
          verb="End"
          hasReason
          close={() => end(null)}
          act={async (reason) => {
            await admin.setModelRate(ended, null, { reason });
            return `${ended} has no rate from now on.`;
          }}
        >
          {ended}: the next pattern counts from now on; without one, its input and output tokens do. What was
          booked stays.
        </ReasonDialog>
      )}
      {rates.data === undefined ? (
        <Waiting of={rates} height="8rem" />
      ) : standings.length === 0 ? (
        <Nothing title="No model has a rate">
          A use costs its input and output tokens, one each. Make a rate to charge more for some models, or a
          markup.
        </Nothing>
      ) : (
        <>
          <Listing
            testId="rates"
            acts="To do"
            columns={[
              { name: "Model" },
              { name: "Input", isNumber: true },
              { name: "Output", isNumber: true, isWide: true },
              { name: "Markup", isNumber: true, isWide: true },
            ]}
          >
            {standings.map(({ name, now, later }) => (
              <Table.Tr key={name}>
                <Called
                  title={name}
                  under={
                    <>
                      {now !== null && (
                        <Narrow>
                          {format.exact(now.tokens_per_output!)} for output,{" "}
                          {format.exact(now.markup_percent!)} % markup
                          <br />
                        </Narrow>
                      )}
                      {[
                        ...(now === null ? [] : [besidesOf(now).join(", ")].filter((it) => it !== "")),
                        ...later.map((row) => laterOf(row, saidOf(row))),
                      ].join("; ")}
                    </>
                  }
                />
                <Table.Td className="number">
                  {now === null ? "" : format.exact(now.tokens_per_input!)}
                </Table.Td>
                <Table.Td className="number" visibleFrom="sm">
                  {now === null ? "" : format.exact(now.tokens_per_output!)}
                </Table.Td>
                <Table.Td className="number" visibleFrom="sm">
                  {now === null ? "" : `${format.exact(now.markup_percent!)} %`}
                </Table.Td>
                {now === null ? (
                  <Table.Td />
                ) : (
                  <Acts
                    of={`rate ${name}`}
                    acts={[
                      { verb: "Change", onClick: () => edit(now) },
                      { verb: "End", isGrave: true, onClick: () => end(name) },
                    ]}
                  />
                )}
              </Table.Tr>
            ))}
          </Listing>
          <More of={rates}>More rates</More>
        </>
      )}
    </Section>
  );
}

/** Of what is to come: what, and from when. */
export const laterOf = ({ valid_from }: { valid_from: string }, what: string) =>
  `from ${format.brief(valid_from)}: ${what}`;

const actionOf = ({ action_type }: ActionCost) => action_type;

const tokensOf = ({ min_tokens: least, max_tokens: most }: ActionCost) =>
  least === most ? format.tokens(least) : `${format.tokens(least)} to ${format.tokens(most)}`;

/** What actions cost users. */
export function ActionCosts() {
  const admin = useAdmin();
  const costs = useActionCosts();
  const [edited, edit] = useState<ActionCost | "new" | null>(null);
  const [ended, end] = useState<string | null>(null);
  return (
    <Section title="What actions cost users" actions={<New onClick={() => edit("new")}>New cost</New>}>
      {edited !== null && (
        <EditDialog
          thing="cost"
          name={edited === "new" ? null : edited.action_type}
          nameHint="The action, as uses and deductions name it."
          fields={costFields}
          row={edited === "new" ? {} : { ...edited }}
          note="What was booked stays. A hold that is open is captured at the cost of that moment."
          isThere={async (name) =>
            (await rowsCalled(name, actionOf, (page) => admin.actionCosts(page))).length > 0
          }
          save={(name, changes, options) => admin.setActionCost(name, changes, options)}
          close={() => edit(null)}
        />
      )}
      {ended !== null && (
        <ReasonDialog
          title="End the cost"
          verb="End"
          hasReason
          close={() => end(null)}
          act={async (reason) => {
            await admin.setActionCost(ended, null, { reason });
            return `${humanized(ended)} costs what is counted from now on.`;
          }}
        >
          {humanized(ended)}: it costs what is counted from now on. What was booked stays.
        </ReasonDialog>
      )}
      {costs.data === undefined ? (
        <Waiting of={costs} height="8rem" />
      ) : costs.data.length === 0 ? (
        <Nothing title="No action has a cost of its own">
          Each costs what was counted. Make a cost for a fixed price, a least or a most.
        </Nothing>
      ) : (
        <>
          <Listing
            testId="costs"
            acts="To do"
            columns={[{ name: "Action" }, { name: "Tokens", isNumber: true }]}
          >
            {costs.data.map((cost) => (
              <Table.Tr key={cost.action_type}>
                <Called title={humanized(cost.action_type)} under={cost.action_type} />
                <Table.Td className="number">{tokensOf(cost)}</Table.Td>
                <Acts
                  of={`cost ${cost.action_type}`}
                  acts={[
                    { verb: "Change", onClick: () => edit(cost) },
                    { verb: "End", isGrave: true, onClick: () => end(cost.action_type) },
                  ]}
                />
              </Table.Tr>
            ))}
          </Listing>
          <More of={costs}>More costs</More>
        </>
      )}
    </Section>
  );
}
