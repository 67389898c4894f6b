/** So many models have a colour of their own in the chart and its table; the others share one. */
export const coloured = 4;

export const colourOf = (place: number): string => `var(--series-${Math.min(place, coloured)})`;
