import { Group, Table } from "@mantine/core";
import { useState } from "react";
import type { ModelPrice } from "tokenbook";
import { format } from "../../format.ts";
import { Mark } from "../../parts/Mark.tsx";
import { More } from "../../parts/More.tsx";
import { Nothing } from "../../parts/Nothing.tsx";
import { Section } from "../../parts/Section.tsx";
import { Waiting } from "../../parts/Waiting.tsx";
import { useAdmin } from "../queries.ts";
import { SearchBox } from "../SearchBox.tsx";
import { standingsOf } from "./dated.ts";
import { EditDialog } from "./EditDialog.tsx";
import { priceFields } from "./fields.ts";
import { Act, Called, Elsewhere, Listing, Narrow, New } from "../Listing.tsx";
import { rowsCalled, useModelPrices } from "./queries.ts";
import { laterOf } from "./Rates.tsx";

const cents = (price: number | null) => (price === null ? "" : format.unitPrice(price, "USD"));

function besidesOf({
  cached_input_cents_per_million: cached,
  cents_per_image,
  cents_per_minute,
}: ModelPrice) {
  return [
    ...(cached === null ? [] : [`cached ${cents(cached)}`]),
    ...(cents_per_image === null ? [] : [`an image ${cents(cents_per_image)}`]),
    ...(cents_per_minute === null ? [] : [`a minute ${cents(cents_per_minute)}`]),
  ];
}

/** What is to come, in words. */
function saidOf(price: ModelPrice): string {
  const { input_cents_per_million: input, output_cents_per_million: output } = price;
  const said = [
    ...(input === null ? [] : [`${cents(input)} for input`]),
    ...(output === null ? [] : [`${cents(output)} for output`]),
    ...besidesOf(price),
  ];
  return said.length === 0 ? "not known" : said.join(", ");
}

const modelOf = ({ model }: ModelPrice) => model;

/** What models cost the project. */
export function Prices() {
  const admin = useAdmin();
  const [search, setSearch] = useState<string>();
  const prices = useModelPrices(search);
  const [edited, edit] = useState<ModelPrice | "new" | null>(null);
  const standings = standingsOf(prices.data ?? [], modelOf);
  return (
    <Section
      title="What models cost you"
      actions={
        <Group gap="xs">
          <SearchBox
            w="11rem"
            label="Search by model"
            placeholder="Model"
            value={search}
            search={setSearch}
          />
          <New onClick={() => edit("new")}>New price</New>
        </Group>
      }
    >
      {edited !== null && (
        <EditDialog
          thing="price"
          name={edited === "new" ? null : edited.model}
          nameHint="The model, as uses name it."
          fields={priceFields}
          row={edited === "new" ? {} : { ...edited }}
          note="What is empty is not known. What was booked stays at the price of its time. A price that is set here is not overruled by a list."
          hasFrom
          isThere={async (name) => {
            const rows = await rowsCalled(name, modelOf, (page) =>
              admin.modelPrices({ ...page, search: name }),
            );
            const [found] = standingsOf(rows, modelOf);
            return found !== undefined && found.now !== null;
          }}
          save={(name, changes, options) => admin.setModelPrice(name, changes, options)}
          close={() => edit(null)}
        />
      )}
      {prices.data === undefined ? (
        <Waiting of={prices} height="12rem" />
      ) : standings.length === 0 ? (
        search === undefined ? (
          <Nothing title="No model has a price">
            Without prices nobody knows what a use costs. “npx tokenbook prices sync” takes them from a public
            list.
          </Nothing>
        ) : (
          <Nothing title="No model is found">
            None with a price has “<span className="words">{search}</span>” in its name.
          </Nothing>
        )
      ) : (
        <>
          <Listing
            testId="prices"
            acts="Change"
            columns={[
              { name: "Model" },
              { name: "Input, a million", isNumber: true },
              { name: "Output, a million", isNumber: true, isWide: true },
            ]}
          >
            {standings.map(({ name, now, later }) => (
              <Table.Tr key={name}>
                <Called
                  title={name}
                  marks={now?.source === "synced" && <Mark>From a list</Mark>}
                  under={
                    <>
                      {now?.output_cents_per_million != null && (
                        <Narrow>
                          {cents(now.output_cents_per_million)} for output
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
                <Table.Td className="number">{cents(now?.input_cents_per_million ?? null)}</Table.Td>
                <Table.Td className="number" visibleFrom="sm">
                  {cents(now?.output_cents_per_million ?? null)}
                </Table.Td>
                {now === null ? <Table.Td /> : <Act of={`price ${name}`} onClick={() => edit(now)} />}
              </Table.Tr>
            ))}
          </Listing>
          <More of={prices}>More models</More>
        </>
      )}
      <Elsewhere>A whole list at once: npx tokenbook prices import, or sync.</Elsewhere>
    </Section>
  );
}
