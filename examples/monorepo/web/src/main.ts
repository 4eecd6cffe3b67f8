import { count } from "./count";

const text = document.querySelector<HTMLTextAreaElement>("#text")!;
const result = document.querySelector<HTMLOutputElement>("#result")!;

document.querySelector("#count")!.addEventListener("click", async () => {
  const { words, lines } = await count(text.value);
  result.textContent = `${words} words, ${lines} lines`;
});
