// A place to drop a file (desk.MidiDrop). What is too large is refused here: sent, it would break the connection.

export default {
  render({ model, el }) {
    const place = document.createElement("label");
    place.className = "nnss nnss-drop";
    place.textContent = model.get("label");
    const input = document.createElement("input");
    input.type = "file";
    input.accept = model.get("accept");
    place.append(input);
    el.append(place);

    const take = async (file) => {
      if (!file) return;
      const most = model.get("most_bytes");
      if (file.size > most) model.send({ type: "refused", name: file.name, bytes: file.size });
      else model.send({ type: "file", name: file.name }, undefined, [await file.arrayBuffer()]);
    };
    input.onchange = () => {
      take(input.files[0]);
      input.value = ""; // so that the same file can be given again
    };
    place.ondragover = (event) => {
      event.preventDefault();
      place.classList.add("over");
    };
    place.ondragleave = () => place.classList.remove("over");
    place.ondrop = (event) => {
      event.preventDefault();
      place.classList.remove("over");
      take(event.dataTransfer.files[0]);
    };
  },
};
