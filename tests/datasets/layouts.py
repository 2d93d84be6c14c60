"""Small data sets on disk, in the layouts of the originals."""

import io
import tarfile
import zipfile

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.io import savemat


def write_image(path, seed=0, side=20):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 256, (side, side + 4, 3), dtype="uint8")
    assert cv2.imwrite(str(path), image)
    return path


def cub200(root):
    """Two images each of species 1, 100, 101 and 102; the first of each is official training."""
    names = {1: "001.Albatross", 100: "100.Auklet", 101: "101.Pelican", 102: "102.Phoebe"}
    images, labels, splits = [], [], []
    for number in range(8):
        label = list(names)[number // 2]
        path = f"{names[label]}/{number}.jpg"
        write_image(root / "images" / path, number)
        images.append(f"{number + 1} {path}")
        labels.append(f"{number + 1} {label}")
        splits.append(f"{number + 1} {1 - number % 2}")
    (root / "images.txt").write_text("\n".join(images) + "\n")
    (root / "image_class_labels.txt").write_text("\n".join(labels) + "\n")
    (root / "train_test_split.txt").write_text("\n".join(splits) + "\n")
    (root / "classes.txt").write_text("".join(f"{k} {v}\n" for k, v in names.items()))
    return root


CAR_CLASSES = (1, 98, 99, 196)  # the last to train and the first to test among them
CAR_NAMES = np.array([f"Car {n}" for n in range(1, 197)], dtype=object)


def cars_half(root, folder, file, count=8):
    """Writes one half of the newer layout: two images each of four classes."""
    kind = [("class", "f8"), ("fname", "O")]
    rows = [(CAR_CLASSES[i // 2], f"{i + 1:05d}.jpg") for i in range(count)]
    for i, (_, name) in enumerate(rows):
        write_image(root / folder / name, i + 10)
    (root / "devkit").mkdir(exist_ok=True)
    found = {"annotations": np.array(rows, dtype=kind)}
    savemat(root / "devkit" / file, found, do_compression=True)  # as the originals are
    savemat(root / "devkit" / "cars_meta.mat", {"class_names": CAR_NAMES}, do_compression=True)
    return root


def cars196(root):
    cars_half(root, "cars_train", "cars_train_annos.mat")
    return cars_half(root, "cars_test", "cars_test_annos_withlabels.mat")


def cars196_half(root):
    return cars_half(root, "cars_train", "cars_train_annos.mat")


def cars196_old(root):
    kind = [("relative_im_path", "O"), ("class", "f8"), ("test", "f8")]
    rows = [(f"car_ims/{i:06d}.jpg", CAR_CLASSES[i // 4], i % 2) for i in range(16)]
    for i, (path, *_) in enumerate(rows):
        write_image(root / path, i)
    found = {"annotations": np.array(rows, dtype=kind), "class_names": CAR_NAMES}
    savemat(root / "cars_annos.mat", found, do_compression=True)
    return root


def sop(root):
    for split, first in (("train", 1), ("test", 5)):
        lines = ["image_id class_id super_class_id path"]
        for i in range(4):
            path = f"chair_final/{split}{i}.JPG"
            write_image(root / path, i + first)
            lines.append(f"{i + first} {i // 2 + first} {1 + i // 2} {path}")
        (root / f"Ebay_{split}.txt").write_text("\n".join(lines) + "\n")
    return root


def inshop(root):
    rows = [("train", "id_1"), ("train", "id_1"), ("train", "id_2"), ("train", "id_2")]
    rows += [("query", "id_3"), ("gallery", "id_3"), ("query", "id_4"), ("gallery", "id_4")]
    lines = [str(len(rows)), "image_name item_id evaluation_status"]
    for i, (split, item) in enumerate(rows):
        path = f"img/{'MEN' if i % 4 < 2 else 'WOMEN'}/Denim/{item}/{i}_front.jpg"
        write_image(root / path, i)
        lines.append(f"{path}   {item}   {split}")
    (root / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    return root


def omniglot(root):
    alphabets = {"small1": ("Greek", "Latin"), "small2": ("Greek", "Sanskrit", "Tagalog")}
    for part, names in alphabets.items():
        archive = root / f"images_background_{part}.zip"
        with zipfile.ZipFile(archive, "w") as opened:
            for name in names:
                for i in range(4):
                    image = np.full((20, 20), 255 - i, "uint8")
                    path = f"images_background_{part}/{name}/character0{i // 2 + 1}/{i}.png"
                    opened.writestr(path, cv2.imencode(".png", image)[1].tobytes())
    return root


def folder(root):
    for i in range(10):
        write_image(root / f"class {i // 2}" / "deep" / f"{i}.png", i)
    (root / "class 0" / "notes.txt").write_text("no image")
    return root


def table(root):
    lines = ["path,label"]
    for i in range(10):
        write_image(root / "images" / f"{i}.jpg", i)
        lines.append(f"images/{i}.jpg,{i // 2}")
    (root / "table.csv").write_text("\n".join(lines) + "\n")
    return root / "table.csv"


def png(seed=0):
    image = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype="uint8")
    return cv2.imencode(".png", image)[1].tobytes()


def write_tar(path, members, mode="w"):
    """Writes {member: bytes or text} as a tar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            data = data.encode() if isinstance(data, str) else data
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def webdataset(root):
    for shard in range(2):
        members = {}
        for i in range(5 * shard, 5 * shard + 5):
            members |= {f"{i:04d}.png": png(i), f"{i:04d}.cls": str(i // 2)}
            members[f"{i:04d}.json"] = f'{{"about": {{"kind": "kind {i // 2}"}}, "split": "train"}}'
        write_tar(root / f"shard-{shard}.tar", members)
    return root / "shard-{0..1}.tar"


def write_parquet(path, images, group=2, **columns):
    """Writes images, as Hugging Face's `datasets` does, and other columns as a Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": data, "path": None} for data in images]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"image": pa.array(cells, kind), **columns})
    pq.write_table(table, path, row_group_size=group)
    return path


def parquet(root):
    for part in range(2):
        numbers = range(5 * part, 5 * part + 5)
        images, labels = [png(i) for i in numbers], [i // 2 for i in numbers]
        write_parquet(root / f"part-{part}.parquet", images, label=labels)
    return root / "part-{0..1}.parquet"


# Data set's name -> (what writes its layout, images by split that it must find).
LAYOUTS = {
    "cub200": (cub200, {"train": 4, "test": 4}),
    "cars196": (cars196, {"train": 8, "test": 8}),
    "cars196-half": (cars196_half, {"train": 4, "test": 4}),
    "sop": (sop, {"train": 4, "test": 4}),
    "inshop": (inshop, {"train": 4, "query": 2, "gallery": 2}),
    "omniglot": (omniglot, {"train": 8, "test": 8}),
    "folder": (folder, {"train": 6, "test": 4}),
    "table": (table, {"train": 6, "test": 4}),
    "parquet": (parquet, {"train": 6, "test": 4}),
    "webdataset": (webdataset, {"train": 6, "test": 4}),
}


def part(registry, name, root, counted=False, **options):
    """Returns a data set over its small layout in `root`, which does not have the full counts."""
    write, _ = LAYOUTS[name]
    kind = registry[name]
    if not counted:
        kind = type(kind.__name__, (kind,), {"expected": {}})
    return kind(root=str(write(root)), **options)
