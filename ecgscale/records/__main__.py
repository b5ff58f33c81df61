from ecgscale.records.schema import data_dictionary

print(data_dictionary(), end="")
