export interface Counted {
  words: number;
  lines: number;
}

/** Has the server count: it runs the C program. */
export async function count(text: string): Promise<Counted> {
  const answer = await fetch("/count", { method: "POST", body: text });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}
